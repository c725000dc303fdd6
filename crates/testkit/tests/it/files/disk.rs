//! Disks without room, and folders that cannot be written to.

use std::process::Command;

use super::*;

/// A file system of so many bytes of its own, in memory.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    /// Nothing where this user may not mount; a run that must prove everything fails there.
    fn mount(bytes: usize) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "peerage-test"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|done| done.status.success()) {
            return Some(Self { dir });
        }
        let wanted = std::env::var_os("PEERAGE_REQUIRE_ALL").is_some_and(|set| set == "1");
        assert!(!wanted, "mounting needs root, and PEERAGE_REQUIRE_ALL=1 was asked for");
        eprintln!("SKIPPED: no small file system without root; set PEERAGE_REQUIRE_ALL=1 to fail");
        None
    }

    /// Takes all room but this.
    fn leave(&self, bytes: usize) {
        let stat = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(self.dir.path()).output();
        let stat = String::from_utf8(stat.unwrap().stdout).unwrap();
        let (blocks, size) = stat.trim().split_once(' ').unwrap();
        let free = blocks.parse::<usize>().unwrap() * size.parse::<usize>().unwrap();
        fs::write(self.dir.path().join("filler"), vec![1; free.saturating_sub(bytes)]).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.dir.path().join("filler")).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[tokio::test]
async fn too_little_room_is_said_before_anything_is_fetched_and_resume_completes_it() {
    let Some(disk) = Small::mount(8 * MIB) else { return };
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    disk.leave(MIB);
    let path = put(&dir.path().join("file"), 4 * MIB);
    let request = send(&path, net.nodes[1].peer_id);
    let id = push(net.node(0), request, net.node(1), &disk.out()).await;
    let full = end(net.node(1), id).await.unwrap_err();
    let FilesError::DiskFull { needed, free, .. } = full else { panic!("{full:?}") };
    assert!(needed >= 4 * MIB as u64 && free <= MIB as u64, "{needed} needed, {free} free");
    let told = end(net.node(0), id).await.unwrap_err();
    assert!(told.to_string().contains("its disk is full"), "{told}");
    assert!(!told.to_string().contains(disk.out().to_str().unwrap()), "{told}");
    disk.make_room();
    net.node(1).files().resume(id).await.unwrap();
    end(net.node(1), id).await.unwrap();
    end(net.node(0), id).await.unwrap();
    assert!(fs::read(disk.out().join("file")).unwrap() == noise(4 * MIB));
    net.stop().await;
}

#[tokio::test]
async fn a_disk_that_becomes_full_keeps_what_is_there_and_resume_completes_it() {
    let Some(disk) = Small::mount(16 * MIB) else { return };
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    // Files of a tree take their room one by one.
    for n in 0..8 {
        put(&dir.path().join(format!("tree/{n}")), MIB);
    }
    let path = dir.path().join("tree");
    let slow = Send { limit_bps: Some(4_000_000), ..send(&path, net.nodes[1].peer_id) };
    let id = push(net.node(0), slow, net.node(1), &disk.out()).await;
    has(net.node(1), id, 2 * MIB).await;
    disk.leave(0);
    let full = end(net.node(1), id).await.unwrap_err();
    assert!(matches!(full, FilesError::DiskFull { .. }), "{full:?}");
    assert!(end(net.node(0), id).await.is_err());
    let kept = net.node(1).files().transfer(id).await.unwrap().done_bytes;
    assert!(kept >= 2 * MIB as u64);
    disk.make_room();
    // Either side may say so.
    net.node(0).files().resume(id).await.unwrap();
    until("another attempt", net.node(1), id, |now| now.state != State::Failed).await;
    let got = end(net.node(1), id).await.unwrap();
    assert!(got.resumed_bytes >= 2 * MIB as u64, "{got:?}");
    end(net.node(0), id).await.unwrap();
    assert!(tree(&disk.out().join("tree")) == tree(&path));
    net.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    let path = put(&dir.path().join("file"), 100);
    let into = put(&dir.path().join("no folder"), 1);
    let request = send(&path, net.nodes[1].peer_id);
    let id = push(net.node(0), request, net.node(1), &into).await;
    let error = end(net.node(1), id).await.unwrap_err();
    assert!(matches!(&error, FilesError::Path { path, .. } if *path == into), "{error:?}");
    assert!(matches!(end(net.node(0), id).await, Err(FilesError::Broken { .. })));

    // Elsewhere it can be.
    let files = net.node(1).files();
    let relative = files.resume_into(id, "out".into()).await.unwrap_err();
    assert!(matches!(relative, FilesError::Path { .. }), "{relative:?}");
    let ours = net.node(0).files().resume_into(id, dir.path().join("x")).await.unwrap_err();
    assert!(matches!(ours, FilesError::WrongState { .. }), "{ours:?}");
    files.resume_into(id, dir.path().join("other")).await.unwrap();
    let got = end(net.node(1), id).await.unwrap();
    assert_eq!(got.paths, [dir.path().join("other/file")]);
    end(net.node(0), id).await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn what_is_paused_goes_to_another_folder_and_leaves_nothing_in_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    let path = put(&dir.path().join("file"), 8 * MIB);
    let slow = Send { limit_bps: Some(4_000_000), ..send(&path, net.nodes[1].peer_id) };
    let first = dir.path().join("first");
    let id = push(net.node(0), slow, net.node(1), &first).await;
    let begun = has(net.node(1), id, MIB).await;
    assert_eq!(begun.paths, [first.join("file")], "where it will be");
    let files = net.node(1).files();
    files.pause(id).await.unwrap();
    files.resume_into(id, dir.path().join("second")).await.unwrap();
    let got = end(net.node(1), id).await.unwrap();
    assert!(fs::read(dir.path().join("second/file")).unwrap() == noise(8 * MIB));
    assert_eq!(got.paths, [dir.path().join("second/file")]);
    assert!(tree(&first).is_empty(), "{:?}", tree(&first).keys());
    net.stop().await;
}
