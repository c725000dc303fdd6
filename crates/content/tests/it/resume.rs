//! Interrupted at any moment, nothing that is certain is lost.

use std::{fs, sync::Arc};

use peerage_content::{
    Bitfield, Plan, Sink, SinkError,
    faults::{Faults, Faulty},
};
use peerage_types::ContentHash;

use crate::support::{Place, names, noise, read, transfer, tree};

fn boot(id: &str) -> Arc<Faulty> {
    Arc::new(Faulty::new(Faults { boot_id: Some(id.into()), ..Faults::default() }))
}

fn files(place: &Place) {
    place.file("t/large", &noise(1, 5_000_000));
    place.file("t/empty", b"");
    (0..1200).for_each(|number| {
        place.file(&format!("t/d{}/f{number}", number % 7), &noise(number, 2000));
    });
}

#[test]
fn a_kill_loses_nothing_that_was_written() {
    for name in ["t", "t/large"] {
        let place = Place::new();
        files(&place);
        let (_, source) = place.source(&[place.input(name)]);
        let plan = source.plan().clone();
        let name = name.rsplit('/').next().unwrap();
        drop(place.sink(&source, name));
        // Killed after every single piece.
        for piece in 0..plan.pieces() {
            let sink = Sink::resume(plan.clone(), &place.state(), None).unwrap();
            assert!(sink.bits().present_runs().flatten().eq(0..piece));
            sink.write_piece(piece, &read(&source, piece)).unwrap();
        }
        let sink = Sink::resume(plan, &place.state(), None).unwrap();
        let path = &sink.finish().unwrap().paths[0];
        if path.is_dir() {
            assert!(tree(path) == tree(&place.input("t")));
        } else {
            assert!(fs::read(path).unwrap() == noise(1, 5_000_000));
        }
    }
}

#[test]
fn after_a_restart_of_the_machine_only_what_was_synced_counts() {
    let place = Place::new();
    files(&place);
    let (_, source) = place.source(&[place.input("t")]);
    let plan = source.plan().clone();
    let sink =
        Sink::create_on(boot("one"), plan.clone(), "t", &place.target(), &place.state()).unwrap();
    for piece in 0..plan.pieces() - 2 {
        sink.write_piece(piece, &read(&source, piece)).unwrap();
        if piece == 2 {
            assert_eq!(sink.checkpoint().unwrap().count(), 3);
        }
    }
    let durable =
        Bitfield::from_bytes(sink.checkpoint().unwrap().as_bytes(), plan.pieces()).unwrap();
    sink.write_piece(plan.pieces() - 1, &read(&source, plan.pieces() - 1)).unwrap();
    drop(sink);
    let resume =
        |disk, durable| Sink::resume_on(disk, plan.clone(), &place.state(), durable).unwrap();
    assert_eq!(resume(boot("one"), None).bits().count(), plan.pieces() - 1);
    assert_eq!(resume(boot("two"), Some(&durable)).bits(), durable);
    // It is known now since which start the rest may be trusted.
    let sink = resume(boot("two"), None);
    assert_eq!(sink.bits(), durable);
    sink.write_piece(plan.pieces() - 1, &read(&source, plan.pieces() - 1)).unwrap();
    drop(sink);
    assert_eq!(resume(boot("two"), None).bits().count(), plan.pieces() - 1);
    // Where starts cannot be told apart, nothing else is trusted.
    let sink = resume(boot(""), None);
    assert_eq!(sink.bits().count(), 0);
    transfer(&source, &sink);
    sink.finish().unwrap();
    assert!(tree(&place.input("t")) == tree(&place.out().join("t")));
}

#[test]
fn a_hundred_gigabytes_are_resumed_without_reading_them() {
    let place = Place::new();
    let disk =
        Arc::new(Faulty::new(Faults { sparse: true, free: Some(u64::MAX), ..Faults::default() }));
    let plan = Plan::blob(ContentHash([7; 32]), 100_000_000_000).unwrap();
    drop(
        Sink::create_on(disk.clone(), plan.clone(), "big", &place.target(), &place.state())
            .unwrap(),
    );
    let sink = Sink::resume_on(disk, plan.clone(), &place.state(), None).unwrap();
    assert!(sink.bits().missing_runs().eq(std::iter::once(0..plan.pieces())));
    let metadata = fs::metadata(sink.staging()).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((metadata.len(), metadata.blocks() * 512 < 1 << 20), (100_000_000_000, true));
}

#[test]
fn what_is_gone_is_said_to_be_lost() {
    let place = Place::new();
    files(&place);
    for name in ["t", "t/large"] {
        let (_, source) = place.source(&[place.input(name)]);
        let plan = source.plan().clone();
        let resume = || Sink::resume(plan.clone(), &place.state(), None);
        assert!(matches!(resume(), Err(SinkError::Lost { .. })));
        let sink = place.sink(&source, "name");
        sink.write_piece(0, &read(&source, 0)).unwrap();
        let part = sink.staging();
        let other = Plan::blob(ContentHash([7; 32]), 100).unwrap();
        let other = Sink::resume(other, &place.state(), None);
        assert!(matches!(other, Err(SinkError::OtherContent { .. })));
        fs::rename(&part, place.out().join("elsewhere")).unwrap();
        assert!(matches!(resume(), Err(SinkError::Lost { path }) if path == part));
        fs::write(&part, "short").unwrap();
        assert!(matches!(resume(), Err(SinkError::Lost { path }) if path == part));
        fs::remove_file(&part).unwrap();
        std::os::unix::fs::symlink("elsewhere", &part).unwrap();
        assert!(matches!(resume(), Err(SinkError::Lost { path }) if path == part));
        fs::remove_file(&part).unwrap();
        fs::rename(place.out().join("elsewhere"), &part).unwrap();
        assert_eq!(resume().unwrap().bits().count(), 1);
        Sink::discard(&place.state()).unwrap();
        assert_eq!((names(&place.out()), place.state().exists()), (vec![], false));
        fs::write(place.state(), "garbage").unwrap();
        assert!(matches!(resume(), Err(SinkError::Lost { .. })));
    }
}

#[test]
fn a_kill_after_the_move_is_known_to_be_the_end() {
    let place = Place::new();
    files(&place);
    for paths in [
        vec![place.input("t")],
        vec![place.input("t/large")],
        vec![place.input("t/empty")],
        vec![place.input("t/large"), place.input("t/d1"), place.input("t/empty")],
    ] {
        let (_, source) = place.source(&paths);
        let sink = place.sink(&source, "name");
        transfer(&source, &sink);
        let finished = sink.finish().unwrap();
        drop(sink);
        let again = Sink::resume(source.plan().clone(), &place.state(), None).unwrap();
        assert!(again.bits().is_full());
        assert_eq!(again.finish().unwrap(), finished);
        Sink::discard(&place.state()).unwrap();
        assert!(finished.paths.iter().all(|path| path.exists()));
        for name in names(&place.out()) {
            let path = place.out().join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
}

#[test]
fn a_bundle_that_was_moved_in_part_is_finished() {
    let place = Place::new();
    files(&place);
    let paths = [place.input("t/large"), place.input("t/d1"), place.input("t/empty")];
    let (_, source) = place.source(&paths);
    let sink = place.sink(&source, "bundle");
    transfer(&source, &sink);
    // The second of the items cannot be moved.
    fs::write(place.out().join("empty"), "taken").unwrap();
    let finished = sink.finish().unwrap();
    // As if killed before the last moves: two items are back in the part.
    let part = sink.staging();
    drop(sink);
    fs::create_dir(&part).unwrap();
    for name in ["empty (1)", "large"] {
        let staged = part.join(name.trim_end_matches(" (1)"));
        fs::rename(place.out().join(name), staged).unwrap();
    }
    let sink = Sink::resume(source.plan().clone(), &place.state(), None).unwrap();
    assert_eq!(sink.finish().unwrap(), finished);
    assert_eq!(names(&place.out()), ["d1", "empty", "empty (1)", "large"]);
    assert_eq!(fs::read(place.out().join("empty")).unwrap(), b"taken");
}
