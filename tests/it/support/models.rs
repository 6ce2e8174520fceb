//! Registered models: students that know nothing, but answer, registered as a distillation registers its own.

use serde_json::{Map, json};
use stepwise::{
    clock::Clock,
    domain::{Checkpoint, CheckpointId, Job, JobKind, Lease, Lineage, Model, TrainingSource},
    store::Store,
};

use super::{
    app::TestApp,
    seed::{distillation_of, long_terms, new_file, new_job, new_model, new_worker},
    student::{desk_labels, write_student_to},
};

impl TestApp {
    /// A registered model with real files.
    pub async fn model(&self, name: &str) -> Model {
        self.model_from(name, None).await
    }

    /// A registered model that was trained from another one. No other distillation may wait in the queue.
    pub async fn model_from(&self, name: &str, base: Option<&Model>) -> Model {
        let job = self.distillation().await;
        self.finish(&job, name, base).await
    }

    /// A queued distillation.
    pub async fn distillation(&self) -> Job {
        let file = self.store.insert_file(&new_file(), None).await.unwrap();
        self.store.create_job(&new_job(distillation_of(TrainingSource::File(file.id)))).await.unwrap()
    }

    /// Does what a worker does at the end of this distillation, which must be the next in the queue.
    pub async fn finish(&self, job: &Job, name: &str, base: Option<&Model>) -> Model {
        let lease = self.claim(job).await;
        self.finish_under(lease, job, name, base).await
    }

    /// Claims this distillation, which must be the next in the queue.
    pub async fn claim(&self, job: &Job) -> Lease {
        let claimed = self.store.claim(new_worker(), &[JobKind::Distillation], &long_terms()).await.unwrap();
        let (claimed, lease) = claimed.unwrap();
        assert_eq!(claimed.id, job.id);
        lease
    }

    /// Does what a worker does at the end of a distillation.
    pub async fn finish_under(&self, lease: Lease, job: &Job, name: &str, base: Option<&Model>) -> Model {
        let folder = tempfile::tempdir().unwrap();
        write_student_to(folder.path(), desk_labels(), job.id.0.as_u128() as u64);
        let prefix = format!("jobs/{}/e1/checkpoint", job.id);
        let published = self.state.artifacts.publish_directory(&prefix, folder.path()).await.unwrap();
        let model = Model {
            base: base.map_or("from_scratch".to_owned(), |base| base.name.clone()),
            base_model_id: base.map(|base| base.id),
            artifact_prefix: prefix,
            manifest_sha256: published.manifest_sha256,
            bytes: published.bytes,
            ..new_model(name, job.id)
        };
        let folders = self.state.registry.directory_names().unwrap();
        self.store.finish_distillation(lease, &json!({}), &model, &[], &folders).await.unwrap()
    }

    /// Does what a worker does with a checkpoint that a training has left.
    pub async fn leave(&self, lease: Lease, step: i64, accuracy: Option<f64>) -> Checkpoint {
        let (job, folder) = (lease.job_id, tempfile::tempdir().unwrap());
        let seed = (job.0.as_u128() as u64).wrapping_add(u64::try_from(step).unwrap());
        write_student_to(folder.path(), desk_labels(), seed);
        let artifact_prefix = format!("jobs/{job}/e{}/checkpoint-{step}", lease.epoch);
        let published = self.state.artifacts.publish_directory(&artifact_prefix, folder.path()).await.unwrap();
        let lineage = json!({
            "base": "from_scratch", "job": job, "method": "standard", "label_source": "teacher", "alpha": 0.5,
            "hyperparameters": {}, "training": [], "step": step,
        });
        let checkpoint = Checkpoint {
            id: CheckpointId(Clock::system().new_id()),
            project_id: Store::default_project(),
            name: Checkpoint::name_of(&job.to_string(), step),
            job_id: job,
            step,
            accuracy,
            best: false,
            metrics: Map::from_iter(accuracy.map(|accuracy| ("label_accuracy".to_owned(), json!(accuracy)))),
            lineage: serde_json::from_value::<Lineage>(lineage).unwrap(),
            artifact_prefix,
            manifest_sha256: published.manifest_sha256,
            bytes: published.bytes,
            created_at: Clock::system().now(),
        };
        assert!(self.store.insert_checkpoint(lease, &checkpoint).await.unwrap());
        checkpoint
    }
}
