//! A log file that starts anew every day and at a size.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Writes to `PATH`; older files are `PATH.1` (the youngest) to `PATH.<keep>`.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    max_bytes: u64,
    keep: usize,
    file: File,
    size: u64,
    day: u64,
}

impl Rotating {
    /// Appends to the file if it is of today.
    pub(super) fn open(path: &Path, max_bytes: u64, keep: usize) -> io::Result<Self> {
        let file = append(path)?;
        let found = file.metadata()?;
        let day = day(found.modified()?);
        Ok(Self { path: path.to_owned(), max_bytes, keep, file, size: found.len(), day })
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn write_at(&mut self, line: &[u8], today: u64) -> io::Result<usize> {
        let full = self.size.saturating_add(line.len() as u64) > self.max_bytes;
        if self.size > 0 && (full || self.day != today) {
            // A full disk must not end the logs; the next line tries again.
            let _ = self.rotate();
        }
        self.day = today;
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_at(line, day(SystemTime::now()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Days since 1970 in UTC.
fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_begins_every_day_and_at_the_size_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Rotating::open(&path, 8, 2).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let today = log.day;
        for line in ["one\n", "two\n", "three\n"] {
            log.write_at(line.as_bytes(), today).unwrap();
        }
        assert_eq!((read("log"), read("log.1")), ("three\n".into(), "one\ntwo\n".into()));
        log.write_at(b"4\n", today + 1).unwrap();
        assert_eq!((read("log"), read("log.1")), ("4\n".into(), "three\n".into()));
        log.write_at(b"5\n", today + 2).unwrap();
        assert_eq!((read("log.1"), read("log.2")), ("4\n".into(), "three\n".into()));
        assert!(!dir.path().join("log.3").exists());
        let mut again = Rotating::open(&path, 8, 2).unwrap();
        again.write_at(b"6\n", again.day).unwrap();
        assert_eq!(read("log"), "5\n6\n");
    }
}
