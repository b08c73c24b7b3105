//! A machine in memory: files, links, programs and listeners that a test scripts. It records every
//! operation, and fails at any one of them, once or from there on (as if the process were killed).
//!
//! A write that fails leaves half of its octets and a removal half of its files, since that is what
//! a crash leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use stopgap_core::observed::Listener;
use stopgap_drivers::host::services::{Ask, Service};
use stopgap_drivers::host::{Bounds, Command, Host, Kind, Output};

/// A name in the fake file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Node {
    File(Vec<u8>),
    Folder,
    Link(PathBuf),
}

/// Where the machine fails. Operations count from 0, reads included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This operation fails, and what follows works.
    Once(usize),
    /// From this operation on nothing works: the process is dead.
    Crash(usize),
}

type OnRun = Box<dyn Fn(&FakeHost, &Command) -> io::Result<Output> + Send + Sync>;
type OnExchange = Box<dyn Fn(&FakeHost, &Listener, &[u8]) -> io::Result<Vec<u8>> + Send + Sync>;
type OnControl = Box<dyn Fn(&FakeHost, &Path, &str) -> io::Result<String> + Send + Sync>;
type OnServices = Box<dyn Fn(&Ask<'_>) -> io::Result<Vec<Service>> + Send + Sync>;

/// The machine.
pub struct FakeHost {
    state: Mutex<State>,
    on_run: OnRun,
    on_exchange: OnExchange,
    on_control: OnControl,
    on_services: OnServices,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<PathBuf, Node>,
    operations: Vec<String>,
    fault: Option<Fault>,
    clock: Duration,
    exchange_unsupported: bool,
    /// What a failure is; nothing: none that has a name.
    kind: Option<io::ErrorKind>,
}

impl Default for FakeHost {
    fn default() -> Self {
        FakeHost::new()
    }
}

impl FakeHost {
    /// A machine with an empty root folder, no programs and no listeners.
    pub fn new() -> FakeHost {
        let state = State { nodes: [(PathBuf::from("/"), Node::Folder)].into(), ..State::default() };
        FakeHost {
            state: Mutex::new(state),
            on_run: Box::new(|_, command| {
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("no program {}", command.program.display()),
                ))
            }),
            on_exchange: Box::new(|_, _, _| Err(io::Error::from(io::ErrorKind::ConnectionRefused))),
            on_control: Box::new(|_, _, _| Err(io::Error::from(io::ErrorKind::NotFound))),
            on_services: Box::new(|_| Err(io::Error::from(io::ErrorKind::NotConnected))),
        }
    }

    /// What programs do. It may use the host, so that a program can read the files.
    pub fn on_run(
        mut self,
        f: impl Fn(&FakeHost, &Command) -> io::Result<Output> + Send + Sync + 'static,
    ) -> Self {
        self.on_run = Box::new(f);
        self
    }

    /// What listeners answer.
    pub fn on_exchange(
        mut self,
        f: impl Fn(&FakeHost, &Listener, &[u8]) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.on_exchange = Box::new(f);
        self
    }

    /// What local sockets answer.
    pub fn on_control(
        mut self,
        f: impl Fn(&FakeHost, &Path, &str) -> io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        self.on_control = Box::new(f);
        self
    }

    /// What the service control manager answers and does.
    pub fn on_services(
        mut self,
        f: impl Fn(&Ask<'_>) -> io::Result<Vec<Service>> + Send + Sync + 'static,
    ) -> Self {
        self.on_services = Box::new(f);
        self
    }

    /// A file system that cannot exchange two names in one step.
    pub fn without_exchange(self) -> Self {
        self.lock().exchange_unsupported = true;
        self
    }

    /// Sets or lifts the fault, and starts counting operations anew.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.lock();
        state.fault = fault;
        state.operations.clear();
    }

    /// What kind of error a fault is from here on, such as a disk that is full.
    pub fn fail_as(&self, kind: io::ErrorKind) {
        self.lock().kind = Some(kind);
    }

    /// Does `work` on a machine that does not fail and does not count.
    pub fn suspended_fault<T>(&self, work: impl FnOnce() -> T) -> T {
        let (fault, operations) = {
            let mut state = self.lock();
            (state.fault.take(), std::mem::take(&mut state.operations))
        };
        let done = work();
        let mut state = self.lock();
        (state.fault, state.operations) = (fault, operations);
        done
    }

    /// Every operation since the last [`FakeHost::set_fault`], in words.
    pub fn operations(&self) -> Vec<String> {
        self.lock().operations.clone()
    }

    /// Puts a file there, with the folders above it; not an operation.
    pub fn put(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        let mut state = self.lock();
        for folder in path.as_ref().ancestors().skip(1) {
            state.nodes.entry(folder.to_owned()).or_insert(Node::Folder);
        }
        state.nodes.insert(path.as_ref().to_owned(), Node::File(bytes.into()));
    }

    /// Puts a link there, with the folders above it; not an operation.
    pub fn link(&self, path: impl AsRef<Path>, to: impl Into<PathBuf>) {
        self.put(path.as_ref(), "");
        self.lock().nodes.insert(path.as_ref().to_owned(), Node::Link(to.into()));
    }

    /// Removes a name and everything below it; not an operation.
    pub fn take(&self, path: impl AsRef<Path>) {
        self.lock().nodes.retain(|p, _| !p.starts_with(path.as_ref()));
    }

    /// The octets of a file, links followed; not an operation, so that scripted programs and
    /// assertions can look.
    pub fn peek(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.nodes.get(&state.resolve(path.as_ref(), true).ok()?)? {
            Node::File(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Every name below `folder` (and itself) with what stands there.
    pub fn tree(&self, folder: impl AsRef<Path>) -> BTreeMap<PathBuf, Node> {
        let state = self.lock();
        state
            .nodes
            .iter()
            .filter(|(p, _)| p.starts_with(folder.as_ref()))
            .map(|(p, n)| (p.clone(), n.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Records an operation. `Err`: it is one that fails.
    fn operation(&self, words: String) -> Result<MutexGuard<'_, State>, MutexGuard<'_, State>> {
        let mut state = self.lock();
        let number = state.operations.len();
        state.operations.push(words);
        let fails = match state.fault {
            Some(Fault::Once(n)) => number == n,
            Some(Fault::Crash(n)) => number >= n,
            None => false,
        };
        if fails { Err(state) } else { Ok(state) }
    }

    fn plain(&self, words: String) -> io::Result<MutexGuard<'_, State>> {
        self.operation(words).map_err(|state| state.broken())
    }

    /// For operations that a failure leaves half done: whether this one is. After a crash nothing
    /// happens any more, not even by half.
    fn tearable(&self, words: String) -> io::Result<(MutexGuard<'_, State>, bool)> {
        match self.operation(words) {
            Ok(state) => Ok((state, false)),
            Err(state) if matches!(state.fault, Some(Fault::Crash(n)) if state.operations.len() > n + 1) => {
                Err(state.broken())
            }
            Err(state) => Ok((state, true)),
        }
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn half_if(torn: bool, bytes: &[u8]) -> &[u8] {
    if torn { bytes.get(..bytes.len() / 2).unwrap_or_default() } else { bytes }
}

impl State {
    fn broken(&self) -> io::Error {
        io::Error::new(self.kind.unwrap_or(io::ErrorKind::Other), "the machine fails here")
    }

    /// The path with links followed; the last one only if `last`.
    fn resolve(&self, path: &Path, last: bool) -> io::Result<PathBuf> {
        let mut left: Vec<OsString> = components(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            match self.nodes.get(&next) {
                Some(Node::Link(to)) if last || !left.is_empty() => {
                    links += 1;
                    if links > 16 {
                        return Err(io::Error::other("too many links"));
                    }
                    if to.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    left.extend(components(to));
                }
                _ => at = next,
            }
        }
        Ok(at)
    }

    fn get(&self, path: &Path, last: bool) -> io::Result<(PathBuf, Node)> {
        let path = self.resolve(path, last)?;
        let node = self.nodes.get(&path).cloned().ok_or_else(gone)?;
        Ok((path, node))
    }

    /// The real path of a name whose folder must be there.
    fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.resolve(path, false)?;
        match path.parent().and_then(|folder| self.nodes.get(folder)) {
            Some(Node::Folder) => Ok(path),
            _ => Err(gone()),
        }
    }

    fn children(&self, folder: &Path) -> Vec<PathBuf> {
        self.nodes.keys().filter(|p| p.parent() == Some(folder)).cloned().collect()
    }

    fn move_tree(&mut self, from: &Path, to: &Path) {
        let moved: Vec<PathBuf> = self.nodes.keys().filter(|p| p.starts_with(from)).cloned().collect();
        for path in moved {
            if let (Some(node), Ok(rest)) = (self.nodes.remove(&path), path.strip_prefix(from)) {
                let place = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                self.nodes.insert(place, node);
            }
        }
    }
}

/// In reverse, to be popped.
fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| c.as_os_str().to_owned())
        .collect()
}

impl Host for FakeHost {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let state = self.plain(format!("read {}", path.display()))?;
        match state.get(path, true)?.1 {
            Node::File(bytes) if bytes.len() as u64 > limit => {
                Err(io::Error::from(io::ErrorKind::FileTooLarge))
            }
            Node::File(bytes) => Ok(bytes),
            _ => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        }
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        let state = self.plain(format!("kind {}", path.display()))?;
        Ok(state.get(path, false).ok().map(|(_, node)| match node {
            Node::File(_) => Kind::File,
            Node::Folder => Kind::Folder,
            Node::Link(_) => Kind::Link,
        }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.plain(format!("read_link {}", path.display()))?;
        match state.get(path, false)?.1 {
            Node::Link(to) => Ok(to),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        let state = self.plain(format!("mode {}", path.display()))?;
        state.get(path, true).map(|_| 0o644)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.plain(format!("list {}", folder.display()))?;
        match state.get(folder, true)? {
            (path, Node::Folder) => Ok(state
                .children(&path)
                .iter()
                .filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned()))
                .collect()),
            _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    fn create_dir_all(&self, folder: &Path, _: u32) -> io::Result<()> {
        let mut state = self.plain(format!("create_dir_all {}", folder.display()))?;
        let folder = state.resolve(folder, true)?;
        for path in folder.ancestors() {
            match state.nodes.entry(path.to_owned()).or_insert(Node::Folder) {
                Node::Folder => (),
                _ => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            }
        }
        Ok(())
    }

    fn write_new(&self, path: &Path, bytes: &[u8], _: u32) -> io::Result<()> {
        let (mut state, torn) = self.tearable(format!("write_new {}", path.display()))?;
        let path = state.place(path)?;
        if state.nodes.contains_key(&path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        state.nodes.insert(path, Node::File(half_if(torn, bytes).to_vec()));
        if torn { Err(state.broken()) } else { Ok(()) }
    }

    fn append(&self, path: &Path, bytes: &[u8], _: u32) -> io::Result<()> {
        let (mut state, torn) = self.tearable(format!("append {}", path.display()))?;
        let path = state.resolve(path, true)?;
        let path = state.place(&path)?;
        let kept = half_if(torn, bytes);
        match state.nodes.entry(path).or_insert(Node::File(Vec::new())) {
            Node::File(file) => file.extend_from_slice(kept),
            _ => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
        }
        if torn { Err(state.broken()) } else { Ok(()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.plain(format!("rename {} {}", from.display(), to.display()))?;
        let (from, node) = state.get(from, false)?;
        let to = state.place(to)?;
        match (&node, state.nodes.get(&to)) {
            (Node::Folder, Some(Node::Folder)) if !state.children(&to).is_empty() => {
                return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
            }
            (Node::Folder, Some(Node::File(_) | Node::Link(_))) => {
                return Err(io::Error::from(io::ErrorKind::NotADirectory));
            }
            (Node::File(_) | Node::Link(_), Some(Node::Folder)) => {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            _ => (),
        }
        state.move_tree(&from, &to);
        Ok(())
    }

    fn exchange_names(&self, a: &Path, b: &Path) -> io::Result<()> {
        let mut state = self.plain(format!("exchange {} {}", a.display(), b.display()))?;
        if state.exchange_unsupported {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let (a, b) = (state.get(a, false)?.0, state.get(b, false)?.0);
        let aside = PathBuf::from("/.exchange");
        state.move_tree(&a, &aside);
        state.move_tree(&b, &a);
        state.move_tree(&aside, &b);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.plain(format!("remove_file {}", path.display()))?;
        match state.get(path, false)? {
            (_, Node::Folder) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            (path, _) => {
                state.nodes.remove(&path);
                Ok(())
            }
        }
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.plain(format!("remove_dir {}", folder.display()))?;
        match state.get(folder, false)? {
            (path, Node::Folder) if state.children(&path).is_empty() => {
                state.nodes.remove(&path);
                Ok(())
            }
            (_, Node::Folder) => Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty)),
            _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    fn remove_tree(&self, ours: &Path, path: &Path) -> io::Result<()> {
        let (mut state, torn) = self.tearable(format!("remove_tree {}", path.display()))?;
        if !path.starts_with(ours) || path == ours {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let path = state.get(path, false)?.0;
        let mut below: BTreeSet<PathBuf> =
            state.nodes.keys().filter(|p| p.starts_with(&path)).cloned().collect();
        let kept = if torn { below.len().div_ceil(2) } else { 0 };
        while below.len() > kept {
            if let Some(last) = below.pop_last() {
                state.nodes.remove(&last);
            }
        }
        if torn { Err(state.broken()) } else { Ok(()) }
    }

    fn symlink(&self, to: &Path, link: &Path) -> io::Result<()> {
        let mut state = self.plain(format!("symlink {} {}", to.display(), link.display()))?;
        let link = state.place(link)?;
        if state.nodes.contains_key(&link) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        state.nodes.insert(link, Node::Link(to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let state = self.plain(format!("sync_dir {}", folder.display()))?;
        state.get(folder, true).map(|_| ())
    }

    fn run(&self, command: &Command) -> io::Result<Output> {
        drop(self.plain(format!("run {} {}", command.program.display(), command.args.join(" ")))?);
        (self.on_run)(self, command)
    }

    fn exchange(
        &self,
        listener: &Listener,
        request: &[u8],
        _: Bounds,
        _: fn(&[u8]) -> bool,
    ) -> io::Result<Vec<u8>> {
        drop(self.plain(format!("exchange with {listener}"))?);
        (self.on_exchange)(self, listener, request)
    }

    fn control(&self, socket: &Path, line: &str, _: Bounds) -> io::Result<String> {
        drop(self.plain(format!("control {} {line}", socket.display()))?);
        (self.on_control)(self, socket, line)
    }

    fn converse(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        self.control(socket, line, bounds)
    }

    fn services(&self, ask: &Ask<'_>, _: Duration) -> io::Result<Vec<Service>> {
        drop(self.plain(format!("services {ask:?}"))?);
        (self.on_services)(ask)
    }

    fn monotonic(&self) -> Duration {
        self.lock().clock
    }

    fn pause(&self, time: Duration) {
        self.lock().clock += time;
    }
}
