//! Where a service's log goes, and a reader of it that goes away or stands still on purpose.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use tokio::{io::AsyncReadExt, net::unix::pipe, sync::watch, task::JoinSet};

/// Where a service's log goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogTo {
    /// To a file.
    #[default]
    File,
    /// Through a pipe to a file: see [`Tap`].
    Pipe,
    /// To a disk without room.
    Full,
}

/// Copies what comes out of a pipe into a file, for as long as it is let.
#[derive(Debug)]
pub struct Tap {
    reading: watch::Sender<Reading>,
    _copying: JoinSet<io::Result<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    On,
    /// What comes stays in the pipe, until that is full.
    Paused,
    /// Nobody has the reading end any more.
    Gone,
}

impl Tap {
    /// Opens it, and says what to write to.
    pub(crate) fn open(file: &Path) -> io::Result<(Self, Stdio)> {
        let (reader, writer) = io::pipe()?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        let file = fs::File::create(file)?;
        let (reading, told) = watch::channel(Reading::On);
        let mut copying = JoinSet::new();
        copying.spawn(copy(reader, file, told));
        Ok((Tap { reading, _copying: copying }, writer.into()))
    }

    /// Closes the reading end.
    pub fn close(&self) {
        self.reading.send_replace(Reading::Gone);
    }

    /// Reads no more, until [`Tap::resume`].
    pub fn pause(&self) {
        self.reading.send_replace(Reading::Paused);
    }

    /// Reads on.
    pub fn resume(&self) {
        self.reading.send_replace(Reading::On);
    }
}

async fn copy(
    mut reader: pipe::Receiver,
    mut file: fs::File,
    mut told: watch::Receiver<Reading>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = *told.borrow_and_update();
        if now == Reading::Gone {
            return Ok(());
        }
        let read = tokio::select! {
            // A reader that is told to stop takes nothing more, even where bytes are ready as well.
            biased;
            changed = told.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            read = reader.read(&mut buffer), if now == Reading::On => read?,
        };
        if read == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..read])?;
    }
}
