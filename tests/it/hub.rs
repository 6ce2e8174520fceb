//! Models by Hub id, against a server with the Hub's routes: what is asked for, what is kept, and who learns the token.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use stepwise::{
    domain::{HubId, ServingPrecision},
    hub::{Hub, HubError, Snapshot, Transfer},
    student::Student,
};
use tch::Device;
use tokio::sync::watch;

use crate::support::{
    hub::{Access, Asked, HubServer, Instead, TOKEN, digest, folder_of},
    shared::shared,
};

const ID: &str = "google/t5-tiny";

fn id(text: &str) -> HubId {
    text.parse().unwrap()
}

/// A server with one model, and a cache that is empty.
struct Scene {
    server: HubServer,
    cache: tempfile::TempDir,
    files: BTreeMap<String, Vec<u8>>,
}

impl Scene {
    /// The model has more files than a student needs, and weights of so many bytes.
    async fn with(weights: usize) -> Self {
        let weights: Vec<u8> = (0..weights).map(|at| (at * 31 % 251) as u8).collect();
        let small = |text: &str| text.as_bytes().to_vec();
        let files: BTreeMap<String, Vec<u8>> = [
            (".gitattributes", small("*.bin filter=lfs")),
            ("README.md", small("# T5")),
            ("config.json", small("{\"model_type\": \"t5\"}")),
            ("generation_config.json", small("{}")),
            ("model.safetensors", weights),
            ("pytorch_model.bin", small("the same in another form")),
            ("spiece.model", small("pieces")),
            ("tf_model.h5", small("the same once more")),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into();
        let server = HubServer::start().await;
        server.put_files(ID, "main", files.clone());
        Self { server, cache: tempfile::tempdir().unwrap(), files }
    }

    fn cache(&self) -> &Path {
        self.cache.path()
    }

    fn hub(&self) -> Hub {
        self.server.hub(self.cache())
    }

    fn blob(&self, file: &str) -> PathBuf {
        folder_of(self.cache(), &id(ID)).join("blobs").join(digest(file, &self.files[file]))
    }

    fn is_right(&self, snapshot: &Snapshot) {
        for name in names(&snapshot.folder) {
            assert_eq!(fs::read(snapshot.folder.join(&name)).unwrap(), self.files[&name], "{name}");
        }
    }
}

async fn fetch(hub: &Hub, text: &str) -> Result<Snapshot, HubError> {
    hub.fetch(&id(text), &watch::Sender::new(None)).await
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Ranges that were asked of the storage, in order; nothing for a whole file.
fn ranges(asked: &[Asked]) -> Vec<Option<&str>> {
    asked.iter().filter(|asked| asked.of_storage).map(|asked| asked.range.as_deref()).collect()
}

#[tokio::test]
async fn what_a_student_needs_is_brought_once_in_the_hubs_own_layout() {
    let scene = Scene::with(3_000_000).await;
    let progress = watch::Sender::new(None);
    let snapshot = scene.hub().fetch(&id(ID), &progress).await.unwrap();
    assert_eq!(names(&snapshot.folder), ["config.json", "generation_config.json", "model.safetensors", "spiece.model"]);
    scene.is_right(&snapshot);
    let model = folder_of(scene.cache(), &id(ID));
    assert_eq!(snapshot.folder, model.join("snapshots").join(snapshot.commit.as_str()));
    assert_eq!(fs::read_to_string(model.join("refs/main")).unwrap(), snapshot.commit.as_str());
    let mode = |path: &str| fs::metadata(model.join(path)).unwrap().permissions().mode();
    assert_eq!(mode("refs/main"), fs::metadata(snapshot.folder.join("config.json")).unwrap().permissions().mode());
    let link = fs::read_link(snapshot.folder.join("model.safetensors")).unwrap();
    let sha256 = digest("model.safetensors", &scene.files["model.safetensors"]);
    assert_eq!(link, Path::new("../../blobs").join(&sha256));
    assert!(names(&model.join("blobs")).iter().all(|name| !name.contains('.')), "nothing is left over");
    let Transfer { files, total_bytes, done_bytes, received_bytes, .. } = progress.borrow().clone().unwrap();
    let sum = names(&snapshot.folder).iter().map(|name| scene.files[name].len() as u64).sum::<u64>();
    assert_eq!((files, total_bytes, done_bytes, received_bytes), (4, sum, sum, sum));

    scene.server.asked();
    let again = fetch(&scene.hub(), ID).await.unwrap();
    assert_eq!(again, snapshot);
    let asked = scene.server.asked();
    assert_eq!(asked.len(), 1, "what main means now, and nothing else: {asked:#?}");
    let pinned = id(ID).at(&snapshot.commit);
    assert_eq!(fetch(&scene.hub(), &pinned.to_string()).await.unwrap().folder, snapshot.folder);
    assert_eq!(scene.server.asked(), [], "a commit never changes");
}

#[tokio::test]
async fn a_branch_that_moves_brings_what_changed_and_a_commit_stays() {
    let scene = Scene::with(1000).await;
    let first = fetch(&scene.hub(), ID).await.unwrap();
    let mut files = scene.files.clone();
    files.insert("config.json".to_owned(), b"{\"model_type\": \"t5\", \"d_model\": 8}".to_vec());
    scene.server.put_files(ID, "main", files);
    scene.server.asked();
    let second = fetch(&scene.hub(), ID).await.unwrap();
    assert_ne!(second.commit, first.commit);
    assert_eq!(ranges(&scene.server.asked()), [], "the tensors are the same blob");
    scene.is_right(&first);
    let found: Vec<String> = scene.hub().models().iter().map(|model| model.id.to_string()).collect();
    assert_eq!(found, [ID.to_owned(), id(ID).at(&first.commit).to_string()]);
}

#[tokio::test]
async fn a_commit_is_itself_or_nothing() {
    let scene = Scene::with(1000).await;
    let pinned = format!("{ID}@{}", "a".repeat(40));
    // A mirror that tells of another commit under the name of this one.
    scene.server.put_files(ID, &"a".repeat(40), scene.files.clone());
    let error = fetch(&scene.hub(), &pinned).await.unwrap_err();
    assert!(error.code() == "hub_bad_reply" && error.to_string().contains(&pinned), "{error}");
    assert!(!error.is_passing() && scene.hub().cached(&id(&pinned)).is_none());
    assert_eq!(ranges(&scene.server.asked()), [], "nothing of it is brought");
}

#[tokio::test]
async fn models_of_the_reference_come_whole_and_can_be_loaded() {
    // A pytorch_model.bin, safetensors in shards, and one file of safetensors.
    for (name, brought) in [("t5_relu_tied", 4), ("ul2_gated_silu", 8), ("t5_v1_1_gated_gelu", 6)] {
        let Some(folder) = shared(&format!("reference/{name}")) else { return };
        let (server, cache) = (HubServer::start().await, tempfile::tempdir().unwrap());
        let commit = server.put("reference/student", "v1", &folder);
        let snapshot = fetch(&server.hub(cache.path()), "reference/student@v1").await.unwrap();
        assert_eq!((&snapshot.commit, names(&snapshot.folder).len()), (&commit, brought), "{name}");
        let brought = Student::load(&snapshot.folder, Device::Cpu, ServingPrecision::Fp32).unwrap();
        let original = Student::load(&folder, Device::Cpu, ServingPrecision::Fp32).unwrap();
        assert!(brought.weights.iter().all(|(name, tensor)| tensor.equal(&original.weights[name])));
        assert_eq!(server.hub(cache.path()).models(), [snapshot], "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_costs_only_what_has_not_come() {
    let scene = Scene::with(3_000_000).await;
    let sha256 = digest("model.safetensors", &scene.files["model.safetensors"]);
    scene.server.instead(&format!("GET /{sha256}"), Instead::Cut(1_234_567));
    scene.server.instead(&format!("GET /{sha256}"), Instead::Cut(1000));
    let snapshot = fetch(&scene.hub(), ID).await.unwrap();
    scene.is_right(&snapshot);
    let asked = scene.server.asked();
    let of_weights: Vec<_> = asked.iter().filter(|asked| asked.path.ends_with(&sha256)).cloned().collect();
    assert_eq!(ranges(&of_weights), [None, Some("bytes=1234567-"), Some("bytes=1235567-")]);
    let is_way = |asked: &&Asked| asked.method == "GET" && asked.path.ends_with("/model.safetensors");
    assert_eq!(asked.iter().filter(is_way).count(), 3, "each try gets a new address from the Hub: signatures expire");
}

#[tokio::test]
async fn a_download_that_was_given_up_is_gone_on_with() {
    let scene = Scene::with(3_000_000).await;
    let hub = scene.server.hub_with(scene.cache(), |settings| settings.tries = 1);
    let sha256 = digest("model.safetensors", &scene.files["model.safetensors"]);
    scene.server.instead(&format!("GET /{sha256}"), Instead::Cut(2_000_000));
    let error = fetch(&hub, ID).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    let blob = scene.blob("model.safetensors");
    assert!(!blob.exists() && hub.cached(&id(ID)).is_none(), "nothing half has a name");
    assert_eq!(fs::metadata(blob.with_extension("incomplete")).unwrap().len(), 2_000_000);
    scene.server.asked();
    let progress = watch::Sender::new(None);
    let snapshot = hub.fetch(&id(ID), &progress).await.unwrap();
    scene.is_right(&snapshot);
    assert_eq!(ranges(&scene.server.asked()).last(), Some(&Some("bytes=2000000-")));
    let transfer = progress.borrow().clone().unwrap();
    assert_eq!(
        (transfer.total_bytes - transfer.received_bytes, transfer.done_bytes),
        (2_000_000, transfer.total_bytes)
    );
}

#[tokio::test]
async fn a_download_that_is_dropped_in_its_midst_leaves_what_it_has_and_nobody_locked_out() {
    let scene = Scene::with(3_000_000).await;
    let sha256 = digest("model.safetensors", &scene.files["model.safetensors"]);
    scene.server.instead(&format!("GET /{sha256}"), Instead::Hold(2_500_000));
    let (hub, wanted) = (scene.hub(), id(ID));
    let (progress, mut watched) = watch::channel(None::<Transfer>);
    tokio::select! {
        _ = hub.fetch(&wanted, &progress) => panic!("the storage holds it up"),
        _ = watched.wait_for(|transfer| transfer.as_ref().is_some_and(|transfer| transfer.done_bytes > 2_000_000)) => {}
    }
    scene.server.asked();
    scene.is_right(&fetch(&hub, ID).await.unwrap());
    let asked = scene.server.asked();
    let range = ranges(&asked)[0].expect("the rest alone is asked for");
    let from: u64 = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!((2_000_000..=2_500_000).contains(&from), "{range}");
}

#[tokio::test]
async fn a_small_file_that_cannot_be_verified_is_begun_anew() {
    let scene = Scene::with(10).await;
    let blob = scene.blob("config.json");
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(blob.with_extension("incomplete"), "{\"damaged").unwrap();
    scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());
}

#[tokio::test]
async fn what_an_earlier_download_left_is_not_trusted() {
    // Damaged, too long, whole, and asked of a server that heeds no range.
    let cases = [(vec![7; 1000], 2), (vec![7; 600_000], 1), (Vec::new(), 0), (vec![7; 10], 1)];
    for (case, (left, asked)) in cases.into_iter().enumerate() {
        let scene = Scene::with(500_000).await;
        let weights = &scene.files["model.safetensors"];
        let left = if left.is_empty() { weights.clone() } else { left };
        let blob = scene.blob("model.safetensors");
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(blob.with_extension("incomplete"), left).unwrap();
        let sha256 = digest("model.safetensors", weights);
        if case == 3 {
            scene.server.instead(&format!("GET /{sha256}"), Instead::Whole);
        }
        scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());
        let of_weights = scene.server.asked().into_iter().filter(|asked| asked.path.ends_with(&sha256));
        assert_eq!(of_weights.count(), asked, "case {case}");
        assert!(!blob.with_extension("incomplete").exists());
    }
}

#[tokio::test]
async fn bytes_with_another_digest_are_thrown_away() {
    let scene = Scene::with(5000).await;
    let sha256 = digest("model.safetensors", &scene.files["model.safetensors"]);
    scene.server.instead(&format!("GET /{sha256}"), Instead::Garbled);
    let error = fetch(&scene.hub(), ID).await.unwrap_err();
    assert!(matches!(&error, HubError::Damaged { file, .. } if file == "model.safetensors"), "{error}");
    assert!(error.to_string().contains(&sha256), "{error}");
    let blob = scene.blob("model.safetensors");
    assert!(!blob.exists() && !blob.with_extension("incomplete").exists());
    assert!(scene.hub().cached(&id(ID)).is_none());
    scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let scene = Scene::with(1000).await;
    scene.server.restrict(ID, Access::Private);
    let hub = scene.server.hub_with_token(scene.cache(), TOKEN);
    scene.is_right(&fetch(&hub, ID).await.unwrap());
    let asked = scene.server.asked();
    assert!(
        asked.iter().any(|asked| asked.of_storage) && asked.iter().any(|asked| asked.path.contains("resolve-cache"))
    );
    for asked in asked {
        let expected = (!asked.of_storage).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(asked.authorization, expected, "{asked:?}");
    }
    assert!(!format!("{hub:?}").contains(TOKEN));
}

#[tokio::test]
async fn what_the_hub_refuses_is_told_with_its_remedy() {
    let scene = Scene::with(1000).await;
    scene.server.put_files("google/private", "main", scene.files.clone());
    scene.server.put_files("google/gated", "main", scene.files.clone());
    scene.server.restrict("google/private", Access::Private);
    scene.server.restrict("google/gated", Access::Gated);
    let hub = |token: Option<&str>| match token {
        Some(token) => scene.server.hub_with_token(scene.cache(), token),
        None => scene.hub(),
    };
    for (token, asked_for, code, words) in [
        (
            None,
            "google/t5-tinny",
            "hub_not_found",
            "check how the id is spelled; a private or gated model needs a token in HF_TOKEN",
        ),
        (Some(TOKEN), "google/t5-tinny", "hub_not_found", "of an account that sees it"),
        (None, "google/private", "hub_not_found", "needs a token in HF_TOKEN"),
        (Some("hf_wrong_canary"), ID, "hub_refused", "does not take the token"),
        (None, "google/gated", "hub_refused", "/google/gated, and set HF_TOKEN"),
        (Some(TOKEN), "google/gated", "hub_refused", "with the account of the token"),
        (None, "google/t5-tiny@v9", "hub_not_found", "no such revision"),
    ] {
        scene.server.asked();
        let error = fetch(&hub(token), asked_for).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(error.code() == code && told.contains(words) && !error.is_passing(), "{token:?} {asked_for}: {told}");
        assert!(told.contains(asked_for.split('@').next().unwrap()) && !told.contains("canary"), "{told}");
        assert_eq!(scene.server.asked().len(), 1, "asking again would not help");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_told() {
    let scene = Scene::with(1000).await;
    scene.server.instead("/revision/", Instead::Status(429, "retry-after", "0"));
    scene.server.instead("/revision/", Instead::Status(500, "x-nothing", ""));
    scene.server.instead("HEAD", Instead::Status(503, "retry-after", "0"));
    let sha256 = digest("model.safetensors", &scene.files["model.safetensors"]);
    // A signed address that has expired.
    scene.server.instead(&format!("GET /{sha256}"), Instead::Status(403, "x-nothing", ""));
    scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());

    let other = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        scene.server.instead("/revision/", Instead::Status(503, "retry-after", "0"));
    }
    let error = fetch(&scene.server.hub(other.path()), ID).await.unwrap_err();
    assert!(error.is_passing() && error.code() == "hub_error" && error.to_string().contains("503"), "{error}");
    for _ in 0..3 {
        scene.server.instead("/revision/", Instead::Status(503, "retry-after", "0"));
    }
    scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());
    // What is known to be older does not stand in for what cannot be brought.
    let mut files = scene.files.clone();
    files.insert("spiece.model".to_owned(), b"other pieces".to_vec());
    scene.server.put_files(ID, "main", files);
    for _ in 0..3 {
        scene.server.instead("GET /google/t5-tiny/resolve/", Instead::Status(503, "retry-after", "0"));
    }
    let error = fetch(&scene.hub(), ID).await.unwrap_err();
    assert!(error.is_passing() && error.code() == "hub_error", "{error}");
    let nobody = scene.server.hub_with(other.path(), |settings| {
        settings.endpoint = "http://127.0.0.1:9".parse().unwrap();
        settings.tries = 1;
    });
    let error = fetch(&nobody, ID).await.unwrap_err();
    assert!(error.is_passing() && error.code() == "hub_unreachable", "{error}");
}

#[tokio::test]
async fn offline_the_cache_is_all_there_is() {
    let scene = Scene::with(1000).await;
    let offline = || scene.server.hub_with(scene.cache(), |settings| settings.offline = true);
    let error = fetch(&offline(), ID).await.unwrap_err();
    assert!(error.code() == "hub_offline" && !error.is_passing(), "{error}");
    assert!(error.to_string().contains(&format!("stepwise fetch {ID}")), "{error}");
    assert_eq!(scene.server.asked(), []);
    let brought = fetch(&scene.hub(), ID).await.unwrap();
    scene.server.asked();
    assert_eq!(fetch(&offline(), ID).await.unwrap(), brought);
    assert_eq!(scene.server.asked(), []);
    fs::remove_file(scene.blob("spiece.model")).unwrap();
    assert_eq!(fetch(&offline(), ID).await.unwrap_err().code(), "hub_offline", "what is not whole is not there");
    scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());
    assert_eq!(scene.server.asked().iter().filter(|asked| asked.of_storage).count(), 1, "one blob was missing");
}

/// Lays files out as `huggingface_hub` does.
fn lay_out(cache: &Path, commit: &str, files: &[(&str, &[u8])]) {
    let model = folder_of(cache, &id(ID));
    for folder in ["blobs", "refs", &format!("snapshots/{commit}"), ".no_exist"] {
        fs::create_dir_all(model.join(folder)).unwrap();
    }
    fs::write(model.join("refs/main"), commit).unwrap();
    for (name, bytes) in files {
        let digest = digest(name, bytes);
        fs::write(model.join("blobs").join(&digest), bytes).unwrap();
        symlink(format!("../../blobs/{digest}"), model.join("snapshots").join(commit).join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_cache_that_huggingface_hub_made_is_used_as_it_is() {
    let scene = Scene::with(1000).await;
    let commit = scene.server.put_files(ID, "main", scene.files.clone());
    let all = ["config.json", "model.safetensors", "spiece.model"].map(|name| (name, scene.files[name].as_slice()));
    lay_out(scene.cache(), commit.as_str(), &all);
    let offline = scene.server.hub_with(scene.cache(), |settings| settings.offline = true);
    let snapshot = fetch(&offline, ID).await.unwrap();
    assert_eq!((&snapshot.commit, offline.cached(&id(ID)).as_ref()), (&commit, Some(&snapshot)));
    scene.is_right(&fetch(&scene.hub(), ID).await.unwrap());
    assert_eq!(ranges(&scene.server.asked()), []);

    // Where it has brought a part, the rest is added.
    let part = tempfile::tempdir().unwrap();
    lay_out(part.path(), commit.as_str(), &all[..2]);
    assert_eq!(scene.server.hub(part.path()).cached(&id(ID)), None);
    fetch(&scene.server.hub(part.path()), ID).await.unwrap();
    assert_eq!(ranges(&scene.server.asked()).len(), 1, "only spiece.model lies in the storage and was not here");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_downloads_at_once_share_the_work() {
    let scene = Scene::with(3_000_000).await;
    let (one, other) = (scene.hub(), scene.hub());
    let (one, other) = tokio::join!(fetch(&one, ID), fetch(&other, ID));
    scene.is_right(&one.unwrap());
    scene.is_right(&other.unwrap());
    let asked = scene.server.asked();
    let mut brought: Vec<&str> =
        asked.iter().filter(|asked| asked.of_storage).map(|asked| asked.path.as_str()).collect();
    brought.sort_unstable();
    let count = brought.len();
    brought.dedup();
    assert_eq!((brought.len(), count), (2, 2), "each large file came once");
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_refused_or_never_used() {
    let scene = Scene::with(10).await;
    let mut listed = scene.files.clone();
    listed.insert("../../../evil".to_owned(), Vec::new());
    listed.insert("a\\..\\evil".to_owned(), Vec::new());
    scene.server.put_files("google/list", "main", listed);
    scene.is_right(&fetch(&scene.hub(), "google/list").await.unwrap());
    assert!(scene.server.asked().iter().all(|asked| !asked.path.contains("evil")));
    let mut indexed = scene.files.clone();
    indexed.remove("model.safetensors");
    let index = |shard: &str| format!("{{\"weight_map\": {{\"a\": \"{shard}\"}}}}").into_bytes();
    indexed.insert("model.safetensors.index.json".to_owned(), index("../../evil"));
    scene.server.put_files("google/index", "main", indexed.clone());
    indexed.insert("model.safetensors.index.json".to_owned(), index("not-there.safetensors"));
    scene.server.put_files("google/shard", "main", indexed);
    scene.server.put_files("google/none", "main", BTreeMap::from([("README.md".to_owned(), Vec::new())]));
    for (repository, code, words) in [
        ("google/index", "hub_bad_reply", "../../evil"),
        ("google/shard", "hub_no_student", "not-there.safetensors"),
        ("google/none", "hub_no_student", "config.json"),
    ] {
        let error = fetch(&scene.hub(), repository).await.unwrap_err();
        assert!(error.code() == code && error.to_string().contains(words), "{error}");
        assert!(!error.is_passing() && scene.hub().cached(&id(repository)).is_none());
    }
    scene.server.instead("HEAD", Instead::Status(200, "etag", "\"../../evil\""));
    assert_eq!(fetch(&scene.hub(), ID).await.unwrap_err().code(), "hub_bad_reply");
    scene.server.instead("HEAD", Instead::Status(302, "location", "file:///etc/passwd"));
    assert_eq!(fetch(&scene.hub(), ID).await.unwrap_err().code(), "hub_bad_reply");
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let scene = Scene::with(10).await;
    fs::write(scene.cache().join(".locks"), "no folder").unwrap();
    let error = fetch(&scene.hub(), ID).await.unwrap_err();
    assert!(error.code() == "hub_cache_failed" && error.to_string().contains(".locks"), "{error}");
    assert!(!error.is_passing(), "a file in a folder's place wants a person: {error}");
}
