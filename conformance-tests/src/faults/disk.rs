//! A disk that can be filled.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// A small file system in memory, which only a privileged user can mount. Unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts so many MiB at a new path.
    ///
    /// # Errors
    /// When this user may not mount.
    pub(crate) fn mount(mebibytes: u32) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("eventbus-disk-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&path)?;
        let disk = Self { path };
        let size = format!("size={mebibytes}m");
        disk.run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"])?;
        Ok(disk)
    }

    /// Whether this user may mount at all.
    pub(crate) fn is_possible() -> bool {
        Self::mount(1).is_ok()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Uses up all that is left.
    ///
    /// # Errors
    /// When there is another reason than that.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        let zeros = vec![0; 64 << 10];
        loop {
            match file.write_all(&zeros) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) used up.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) fn free(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<()> {
        let output = Command::new(program).args(arguments).arg(&self.path).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is about to end may still be there.
        let _ = self.run("umount", &["-l"]);
        let _ = fs::remove_dir(&self.path);
    }
}
