//! Few handles, no word from the kernel, and a process that ends without being asked.

use component::Fanout;
use component::metrics::Metrics as Registry;

use tail::{Engine, Keeper, Metrics, WORKERS};

use super::super::find::Targets;
use super::super::{Args, settings};
use super::*;

/// The component's parts without its node: its tasks can be ended in the middle.
struct Parts {
    engine: Arc<Engine>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Parts {
    async fn start(rig: &Rig, paths: &[PathBuf], change: impl FnOnce(&mut Engine)) -> Self {
        let targets = paths.iter().map(|p| format!("{{__path__ = {:?}}}", p)).collect::<Vec<_>>().join(", ");
        let args = decode(&format!("targets = [{targets}]\nforward_to = []"));
        let metrics = Metrics::new(&Registry::default().node("x"), "x");
        let settings = settings(&args).unwrap();
        let mut engine = Engine::new(settings, Fanout::new([rig.port.receiver()]), metrics);
        change(&mut engine);
        let engine = Arc::new(engine);
        let data_path = rig.positions_path().parent().unwrap().to_path_buf();
        let find = || Arc::new(Targets::new(&args));
        let mut keeper = Keeper::open(&engine, &data_path, find(), Path::new("")).await;
        let mut tasks: Vec<_> =
            (0..WORKERS).map(|_| tokio::spawn(engine.clone().work(keeper.worker()))).collect();
        keeper.set_finder(find(), false).await;
        tasks.push(tokio::spawn(async move {
            loop {
                keeper.step().await;
            }
        }));
        Self { engine, tasks }
    }

    /// As SIGKILL: nothing is finished, nothing is written.
    async fn kill(self) {
        self.tasks.iter().for_each(|task| task.abort());
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

fn decode(body: &str) -> Args {
    let source = component::eval::syntax::Source::new("test.alloy", body);
    let (file, _) = component::eval::syntax::parse(&source);
    let names = Names::default();
    let scope = component::eval::Scope::new(&names);
    component::eval::decode(&source, &file.body, None, &scope).0.unwrap()
}

#[tokio::test(start_paused = true)]
async fn more_files_than_handles_are_read_and_followed_through_rotations() {
    let mut rig = Rig::new();
    let count = 40;
    let paths: Vec<PathBuf> = (0..count).map(|i| rig.at(&format!("{i}.log"))).collect();
    for (i, path) in paths.iter().enumerate() {
        append(path, &format!("line {i}\n"));
    }
    let parts = Parts::start(&rig, &paths, |engine| engine.most_open = 8).await;
    rig.until(count).await;
    rig.rest().await;
    assert!(parts.engine.taken() <= 8, "{} files are open", parts.engine.taken());
    for (i, path) in paths.iter().enumerate() {
        append(path, &format!("line {}\n", count + i));
    }
    for (i, path) in paths.iter().enumerate() {
        std::fs::rename(path, path.with_extension("log.1")).unwrap();
        append(path, &format!("line {}\n", 2 * count + i));
    }
    rig.until(3 * count).await;
    rig.rest().await;
    rig.rest().await;
    let mut numbers: Vec<usize> = rig.lines.iter().map(|l| l[5..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..3 * count), "{:?}", rig.lines);
    assert!(parts.engine.taken() <= 8, "{} files are open", parts.engine.taken());
    parts.kill().await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_time_it_goes_on_without_a_gap_and_repeats_what_was_not_persisted() {
    let mut rig = Rig::new();
    let path = [rig.at("a.log")];
    let mut written = 0;
    let mut arrived = 0;
    for round in 0..30_u64 {
        let parts = Parts::start(&rig, &path, |_| {}).await;
        for _ in 0..3 {
            rig.write("a.log", &numbered(written..written + 500));
            written += 500;
            tokio::time::sleep(Duration::from_millis(round * 137 % 4000)).await;
            if round % 4 == 1 {
                std::fs::rename(&path[0], rig.at(&format!("a.log.{written:09}"))).unwrap();
            }
            if round % 5 == 2 {
                rig.refuse();
            }
        }
        parts.kill().await;
        rig.collect();
        rig.accept();
        // Each run goes on at or before where the last one stopped, without a gap.
        let numbers: Vec<usize> = rig.lines.drain(..).map(|l| l[5..].parse().unwrap()).collect();
        if let Some(first) = numbers.first() {
            assert!(*first <= arrived, "round {round}: {first} after {arrived}");
            assert!(
                numbers.windows(2).all(|w| w[1] == w[0] + 1),
                "round {round}: a gap or a repetition inside"
            );
            arrived = numbers.last().unwrap() + 1;
        }
    }
    let parts = Parts::start(&rig, &path, |_| {}).await;
    rig.rest().await;
    parts.kill().await;
    let last = rig.lines.last().map_or(arrived, |l| l[5..].parse::<usize>().unwrap() + 1);
    assert_eq!(last, written);
}

#[tokio::test(start_paused = true)]
async fn where_the_kernel_tells_nothing_files_are_polled() {
    let mut rig = Rig::new();
    let parts = Parts::start(&rig, &[rig.at("a.log")], Engine::only_poll).await;
    for round in 0..10 {
        rig.write("a.log", &numbered(round * 10..round * 10 + 10));
        rig.until(round * 10 + 10).await;
        std::fs::rename(rig.at("a.log"), rig.at(&format!("a.log.{round:05}"))).unwrap();
    }
    rig.expect(0..100).await;
    parts.kill().await;
}

/// Whether one inotify instance of this process watches both the folder and the file.
fn is_watched(rig: &Rig) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: PathBuf| format!(" ino:{:x} ", std::fs::metadata(path).unwrap().ino());
    let inodes = [inode(rig.at(".")), inode(rig.at("a.log"))];
    let fds = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let mut texts = fds.filter_map(|fd| std::fs::read_to_string(fd.path()).ok());
    texts.any(|text| inodes.iter().all(|inode| text.contains(inode)))
}

/// In real time: polls would come after ten hours.
#[tokio::test]
async fn the_kernel_tells_of_new_lines_and_of_new_files() {
    let mut rig = Rig::new();
    rig.write("a.log", "line 0\n");
    let watch = "file_watch {\nmin_poll_frequency = \"10h\"\nmax_poll_frequency = \"10h\"\n}";
    rig.start(&format!("{}{watch}", rig.target("a.log"))).await;
    for n in 1..6 {
        rig.until(n).await;
        // It is watched once it has been read to its end, and its folder after that.
        while !is_watched(&rig) {
            tokio::task::yield_now().await;
        }
        if n == 3 {
            std::fs::rename(rig.at("a.log"), rig.at("a.log.1")).unwrap();
        }
        rig.write("a.log", &format!("line {n}\n"));
    }
    rig.until(6).await;
    assert_eq!(rig.lines.len(), 6);
    rig.stop().await;
}
