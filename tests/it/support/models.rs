//! Registered models: students that know nothing, but answer, registered as a distillation registers its own.

use serde_json::json;
use stepwise::domain::{Job, JobKind, Model, TrainingSource};

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
        let file = self.store.insert_file(&new_file()).await.unwrap();
        let job = new_job(distillation_of(TrainingSource::File(file.id)));
        let job = self.store.create_job(&job).await.unwrap();
        self.finish(&job, name, base).await
    }

    /// Does what a worker does at the end of this distillation, which must be the next in the queue.
    pub async fn finish(&self, job: &Job, name: &str, base: Option<&Model>) -> Model {
        let (claimed, lease) =
            self.store.claim(new_worker(), &[JobKind::Distillation], &long_terms()).await.unwrap().unwrap();
        assert_eq!(claimed.id, job.id);
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
        self.store.finish_distillation(lease, &json!({}), &model, &folders).await.unwrap()
    }
}
