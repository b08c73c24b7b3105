//! A file system with a volatile side and a durable one.
//!
//! - Octets of a file that were not written through may be lost, half there, or zeros of the right length.
//! - A change of names (made, renamed, exchanged, removed, linked) may be lost until its folder is written through. One
//!   call changes names in one step. Changes are lost independently of each other, in any order, but for those of the
//!   same name in the same folder. Writing a file through keeps its octets and not its name; writing a folder through
//!   keeps its names and not its own name in the folder above.
//! - What was written through stays.
#![allow(clippy::expect_used, clippy::panic, reason = "a record that does not fit its disk is a broken test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Op;
use crate::host::Node;

/// Every name with what stands there.
pub type Tree = BTreeMap<PathBuf, Node>;

/// Of up to so many changes of names that are not on the disk, every set that can be lost is; of more, none, all, each
/// beginning, each one alone lost and each one alone kept.
pub const BOUND: usize = 6;

type Ino = usize;
type Name = (Ino, String);
type Names = BTreeMap<Name, Ino>;

/// Changes of names in one step.
#[derive(Debug, Clone)]
struct Step(Vec<(Name, Option<Ino>)>);

#[derive(Debug, Clone)]
struct Inode {
    /// On the disk.
    kept: Node,
    /// As programs see it.
    now: Node,
}

#[derive(Debug, Clone)]
struct Disk {
    inodes: Vec<Inode>,
    kept: Names,
    now: Names,
    /// In `now` and not in `kept`, oldest first.
    pending: Vec<Step>,
}

/// Every disk that a power cut during `ops` may leave, from a disk that is `start`. `forget`: the call of this number
/// does not wait for the disk, as if its author had forgotten to.
pub fn disks(start: &Tree, ops: &[Op], forget: Option<usize>) -> BTreeSet<Vec<(PathBuf, Node)>> {
    disks_after(start, ops, 0, forget)
}

/// The same of a power cut after the first `done` calls, whatever of those is on the disk.
pub fn disks_after(
    start: &Tree,
    ops: &[Op],
    done: usize,
    forget: Option<usize>,
) -> BTreeSet<Vec<(PathBuf, Node)>> {
    let mut disk = Disk::of(start);
    let (mut found, mut earlier) = (BTreeSet::new(), BTreeSet::new());
    disk.collect(if done == 0 { &mut found } else { &mut earlier });
    for (number, op) in ops.iter().enumerate() {
        let found = if number < done { &mut earlier } else { &mut found };
        disk.perform(op, forget == Some(number), found);
        disk.collect(found);
    }
    found
}

/// The disk as programs see it, before `ops` and after each.
pub fn seen(start: &Tree, ops: &[Op]) -> Vec<Tree> {
    let mut disk = Disk::of(start);
    let mut trees = vec![disk.tree(&disk.now, &now)];
    for op in ops {
        disk.perform(op, false, &mut Found::new());
        trees.push(disk.tree(&disk.now, &now));
    }
    trees
}

type Found = BTreeSet<Vec<(PathBuf, Node)>>;

impl Disk {
    fn of(tree: &Tree) -> Disk {
        let root = Inode { kept: Node::Folder, now: Node::Folder };
        let (kept, now) = (Names::new(), Names::new());
        let mut disk = Disk { inodes: vec![root], kept, now, pending: Vec::new() };
        disk.lay(tree);
        disk
    }

    /// `tree` is on the disk, whoever put it there. Folders in which nothing of it is new are not written through by
    /// that.
    fn lay(&mut self, tree: &Tree) {
        let gone: Vec<PathBuf> = self
            .tree(&self.now, &|inode| inode.now.clone())
            .into_keys()
            .filter(|path| !tree.contains_key(path))
            .collect();
        let mut touched = BTreeSet::new();
        for path in gone.iter().rev() {
            let name = self.name(path);
            touched.insert(name.0);
            self.set(vec![(name, None)]);
        }
        for (path, node) in tree.iter().filter(|(path, _)| path.parent().is_some()) {
            let name = self.name(path);
            let there = self.now.get(&name).copied();
            if there.is_none_or(|ino| self.inode(ino).now != *node) {
                let ino = self.make(node.clone());
                self.inode_mut(ino).kept = node.clone();
                touched.insert(name.0);
                self.set(vec![(name, Some(ino))]);
            }
        }
        touched.into_iter().for_each(|folder| self.keep(folder));
    }

    fn perform(&mut self, op: &Op, forget: bool, found: &mut Found) {
        match op {
            Op::CreateDirs(path) => {
                let missing: Vec<&Path> =
                    path.ancestors().take_while(|folder| self.find(folder).is_none()).collect();
                for folder in missing.into_iter().rev() {
                    let (name, ino) = (self.name(folder), self.make(Node::Folder));
                    self.set(vec![(name, Some(ino))]);
                    self.collect(found);
                }
            }
            Op::Write(path, bytes) | Op::Append(path, bytes) => {
                let ino = match self.find(path) {
                    Some(ino) => ino,
                    None => {
                        let (name, ino) = (self.name(path), self.make(Node::File(Vec::new())));
                        self.set(vec![(name, Some(ino))]);
                        self.collect(found);
                        ino
                    }
                };
                match &mut self.inode_mut(ino).now {
                    Node::File(octets) => octets.extend_from_slice(bytes),
                    other => panic!("{} is {other:?}", path.display()),
                }
                self.collect(found);
                if !forget {
                    let inode = self.inode_mut(ino);
                    inode.kept = inode.now.clone();
                }
            }
            Op::Rename(from, to) => {
                let ino = self.find(from).expect("what is renamed is there");
                let step = vec![(self.name(from), None), (self.name(to), Some(ino))];
                self.set(step);
            }
            Op::Exchange(a, b) => {
                let (one, two) = (self.find(a).expect("is there"), self.find(b).expect("is there"));
                let step = vec![(self.name(a), Some(two)), (self.name(b), Some(one))];
                self.set(step);
            }
            Op::Remove(path) => {
                let name = self.name(path);
                self.set(vec![(name, None)]);
            }
            Op::RemoveTree(path) => {
                let all = self.tree(&self.now, &|inode| inode.now.clone());
                for path in all.keys().filter(|below| below.starts_with(path)).rev() {
                    let name = self.name(path);
                    self.set(vec![(name, None)]);
                    self.collect(found);
                }
            }
            Op::Symlink(to, link) => {
                let (name, ino) = (self.name(link), self.make(Node::Link(to.clone())));
                self.set(vec![(name, Some(ino))]);
            }
            Op::SyncDir(_) if forget => (),
            Op::SyncDir(folder) => self.sync_dir(folder),
            Op::Outside(_, None) => (),
            Op::Outside(_, Some(tree)) => self.lay(tree),
        }
    }

    /// A link and a folder have nothing but themselves to lose.
    fn make(&mut self, node: Node) -> Ino {
        self.inodes.push(Inode { kept: node.clone(), now: node });
        self.inodes.len() - 1
    }

    fn inode(&self, ino: Ino) -> &Inode {
        self.inodes.get(ino).expect("an inode that was made")
    }

    fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(ino).expect("an inode that was made")
    }

    fn find(&self, path: &Path) -> Option<Ino> {
        match path.parent() {
            None => Some(0),
            Some(_) => self.now.get(&self.name_in(path)?).copied(),
        }
    }

    fn name_in(&self, path: &Path) -> Option<Name> {
        Some((self.find(path.parent()?)?, path.file_name()?.to_string_lossy().into_owned()))
    }

    fn name(&self, path: &Path) -> Name {
        self.name_in(path).unwrap_or_else(|| panic!("the folder of {} is not there", path.display()))
    }

    fn set(&mut self, changes: Vec<(Name, Option<Ino>)>) {
        let step = Step(changes);
        step.apply(&mut self.now);
        self.pending.push(step);
    }

    /// What touches this folder is kept, with all that came before it at the same names.
    fn sync_dir(&mut self, folder: &Path) {
        let ino = self.find(folder).expect("the folder is there");
        self.keep(ino);
    }

    fn keep(&mut self, ino: Ino) {
        let touched = |step: &Step| step.0.iter().any(|((dir, _), _)| *dir == ino);
        let chosen: BTreeSet<usize> =
            (0..self.pending.len()).filter(|at| self.pending.get(*at).is_some_and(touched)).collect();
        let chosen = self.with_earlier(chosen);
        let pending = std::mem::take(&mut self.pending);
        for (at, step) in pending.into_iter().enumerate() {
            if chosen.contains(&at) { step.apply(&mut self.kept) } else { self.pending.push(step) }
        }
    }

    fn depends(&self, later: usize, earlier: usize) -> bool {
        let (Some(later), Some(earlier)) = (self.pending.get(later), self.pending.get(earlier)) else {
            return false;
        };
        later.0.iter().any(|(name, _)| earlier.0.iter().any(|(other, _)| name == other))
    }

    fn with_earlier(&self, mut chosen: BTreeSet<usize>) -> BTreeSet<usize> {
        for at in (0..self.pending.len()).rev() {
            if chosen.iter().any(|later| *later > at && self.depends(*later, at)) {
                chosen.insert(at);
            }
        }
        chosen
    }

    /// The sets of pending changes that are on the disk.
    fn survivors(&self) -> BTreeSet<BTreeSet<usize>> {
        let count = self.pending.len();
        let all = || (0..count).collect::<BTreeSet<usize>>();
        if count <= BOUND {
            let subset =
                |bits: u32| (0..count).filter(|at| bits & (1 << at) != 0).collect::<BTreeSet<usize>>();
            let closed = |chosen: &BTreeSet<usize>| self.with_earlier(chosen.clone()) == *chosen;
            return (0..1_u32 << count).map(subset).filter(closed).collect();
        }
        let mut sets = BTreeSet::from([BTreeSet::new(), all()]);
        for at in 0..count {
            sets.insert((0..at).collect());
            sets.insert(self.with_earlier(BTreeSet::from([at])));
            let mut lost = BTreeSet::from([at]);
            for later in at + 1..count {
                if lost.iter().any(|earlier| self.depends(later, *earlier)) {
                    lost.insert(later);
                }
            }
            sets.insert(all().difference(&lost).copied().collect());
        }
        sets
    }

    fn collect(&self, found: &mut Found) {
        let unsaved = self.inodes.iter().any(|inode| inode.kept != inode.now);
        let octets: &[fn(&Inode) -> Node] = if unsaved { &[kept, half, zeros, now] } else { &[now] };
        for survivors in self.survivors() {
            let mut names = self.kept.clone();
            for (_, step) in self.pending.iter().enumerate().filter(|(at, _)| survivors.contains(at)) {
                step.apply(&mut names);
            }
            found.extend(octets.iter().map(|octets| self.tree(&names, octets).into_iter().collect()));
        }
    }

    /// What is reached from the root.
    fn tree(&self, names: &Names, octets: &dyn Fn(&Inode) -> Node) -> Tree {
        let mut tree = Tree::from([(PathBuf::from("/"), Node::Folder)]);
        let mut folders = vec![(0, PathBuf::from("/"))];
        while let Some((folder, path)) = folders.pop() {
            let children = names.range((folder, String::new())..(folder + 1, String::new()));
            for ((_, name), ino) in children {
                let (path, node) = (path.join(name), octets(self.inode(*ino)));
                if node == Node::Folder {
                    folders.push((*ino, path.clone()));
                }
                tree.insert(path, node);
            }
        }
        tree
    }
}

impl Step {
    fn apply(&self, names: &mut Names) {
        for (name, ino) in &self.0 {
            match ino {
                Some(ino) => names.insert(name.clone(), *ino),
                None => names.remove(name),
            };
        }
    }
}

fn kept(inode: &Inode) -> Node {
    inode.kept.clone()
}

fn now(inode: &Inode) -> Node {
    inode.now.clone()
}

/// Half of the octets that were not written through.
fn half(inode: &Inode) -> Node {
    part(inode, |unsaved| unsaved.get(..unsaved.len() / 2).unwrap_or_default().to_vec())
}

/// The file has its length, and its last blocks were never written.
fn zeros(inode: &Inode) -> Node {
    part(inode, |unsaved| vec![0; unsaved.len()])
}

fn part(inode: &Inode, of: impl Fn(&[u8]) -> Vec<u8>) -> Node {
    match (&inode.kept, &inode.now) {
        (Node::File(kept), Node::File(now)) if kept != now => {
            let unsaved = now.get(kept.len()..).unwrap_or_default();
            Node::File([kept.clone(), of(unsaved)].concat())
        }
        _ => inode.now.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(found: &Found, path: &str) -> BTreeSet<String> {
        let node = |tree: &Vec<(PathBuf, Node)>| match tree.iter().find(|(p, _)| p == Path::new(path)) {
            Some((_, Node::File(octets))) => String::from_utf8(octets.clone()).unwrap(),
            other => format!("{:?}", other.map(|(_, node)| node)),
        };
        found.iter().map(node).collect()
    }

    fn replacing() -> (Tree, Vec<Op>) {
        let start = Tree::from([
            ("/".into(), Node::Folder),
            ("/d".into(), Node::Folder),
            ("/d/f".into(), Node::File(b"old".to_vec())),
        ]);
        let ops = vec![
            Op::Write("/d/.f".into(), b"new!".to_vec()),
            Op::Rename("/d/.f".into(), "/d/f".into()),
            Op::SyncDir("/d".into()),
            Op::Write("/d/mark".into(), b"m".to_vec()),
            Op::SyncDir("/d".into()),
        ];
        (start, ops)
    }

    #[test]
    fn a_file_that_is_replaced_with_care_is_the_old_one_or_the_new_one() {
        let (start, ops) = replacing();
        assert_eq!(text(&disks(&start, &ops, None), "/d/f"), ["new!", "old"].map(String::from).into());
    }

    #[test]
    fn a_file_that_was_not_written_through_may_be_torn() {
        let (start, ops) = replacing();
        let found = text(&disks(&start, &ops, Some(0)), "/d/f");
        assert_eq!(found, ["", "\0\0\0\0", "ne", "new!", "old"].map(String::from).into());
    }

    #[test]
    fn without_the_folder_a_later_name_may_be_there_and_an_earlier_one_not() {
        let (start, ops) = replacing();
        let torn = |forget| {
            disks(&start, &ops, forget).iter().any(|tree| {
                let file = tree.iter().any(|node| *node == ("/d/f".into(), Node::File(b"old".to_vec())));
                file && tree.iter().any(|node| *node == ("/d/mark".into(), Node::File(b"m".to_vec())))
            })
        };
        assert_eq!((torn(None), torn(Some(2))), (false, true));
    }

    #[test]
    fn what_a_program_writes_is_on_the_disk_and_nothing_else_by_that() {
        let (start, ops) = replacing();
        let mut after = seen(&start, &ops[..2]).pop().unwrap();
        after.insert("/p".into(), Node::File(b"p".to_vec()));
        let ops = [&ops[..2], &[Op::Outside("run".into(), Some(after))]].concat();
        let of = |path: &'static str| text(&disks_after(&start, &ops, 2, None), path);
        assert_eq!((of("/p"), of("/d/f")), (["p".into()].into(), ["new!", "old"].map(String::from).into()));
    }

    #[test]
    fn a_folder_that_was_written_through_may_be_lost_with_its_own_name() {
        let start = Tree::from([("/".into(), Node::Folder)]);
        let ops = [
            Op::CreateDirs("/a/b".into()),
            Op::Write("/a/b/f".into(), b"x".to_vec()),
            Op::SyncDir("/a/b".into()),
        ];
        assert!(disks(&start, &ops, None).iter().any(|tree| tree.len() == 1));
        let all = [&ops[..], &[Op::SyncDir("/a".into()), Op::SyncDir("/".into())]].concat();
        assert_eq!(seen(&start, &all).last().unwrap().len(), 4);
        let later = [Op::Write("/mark".into(), b"m".to_vec()), Op::SyncDir("/".into())];
        let lost = |ops: &[Op]| {
            let marked =
                |tree: &&Vec<(PathBuf, Node)>| tree.iter().any(|(path, _)| path == Path::new("/mark"));
            disks(&start, &[ops, &later].concat(), None).iter().filter(marked).any(|tree| tree.len() < 5)
        };
        assert_eq!((lost(&ops), lost(&all)), (true, false));
    }
}
