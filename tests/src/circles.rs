//! Shows that no modules of a crate import each other in a circle: `cargo test --workspace --lib circles`.
//!
//! A module is a file, and its tests do not count. That it uses what the modules around it define is no circle: it is a
//! part of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use syn::{
    ItemMod, ItemUse, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

/// A module by its names from the root on; the root itself has none.
type Name = Vec<String>;

/// The modules of a crate, each with what it imports.
type Modules = BTreeMap<Name, Module>;

#[derive(Debug, Default)]
struct Module {
    /// Every path that it names, from the root on.
    paths: BTreeSet<Name>,
    /// What it calls otherwise than it is called where it is.
    imported: BTreeMap<String, Name>,
    /// What others may take from here, though it is elsewhere; `None` if that is another crate.
    exported: BTreeMap<String, Option<Name>>,
    children: Vec<String>,
}

/// Reads a crate from its `lib.rs` on.
fn read(root: &Path) -> anyhow::Result<Modules> {
    let mut modules = Modules::new();
    let mut left = vec![(Name::new(), root.to_owned())];
    while let Some((name, file)) = left.pop() {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        let mut reader = Reader { within: name.clone(), module: Module::default() };
        // What is imported is known before it is used.
        Imports(&mut reader).visit_file(&parsed);
        reader.visit_file(&parsed);
        for child in &reader.module.children {
            let path: Name = name.iter().chain([child]).cloned().collect();
            left.push((path.clone(), file_of(root, &path)));
        }
        modules.insert(name, reader.module);
    }
    Ok(modules)
}

fn file_of(root: &Path, name: &[String]) -> PathBuf {
    let stem = name.iter().fold(root.with_file_name(""), |path, part| path.join(part));
    let file = stem.with_extension("rs");
    if file.exists() { file } else { stem.join("mod.rs") }
}

struct Reader {
    within: Name,
    module: Module,
}

impl Reader {
    /// A path from the root on; `None` if it leads out of the crate.
    fn absolute(&self, path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Name::new(),
            "self" => self.within.clone(),
            "super" => self.within[..self.within.len().checked_sub(1)?].to_vec(),
            child if self.module.children.iter().any(|own| own == child) => {
                self.within.iter().chain([first]).cloned().collect()
            }
            imported => self.module.imported.get(imported)?.clone(),
        };
        for part in rest {
            match part.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                _ => base.push(part.clone()),
            }
        }
        Some(base)
    }

    fn note(&mut self, path: &[String]) {
        self.module.paths.extend(self.absolute(path));
    }
}

/// Finds the children and the imports of a module, before anything else.
struct Imports<'a>(&'a mut Reader);

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(item) && item.content.is_none() {
            self.0.module.children.push(item.ident.to_string());
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            let path = self.0.absolute(&path).filter(|_| item.leading_colon.is_none());
            if !matches!(item.vis, Visibility::Inherited) {
                self.0.module.exported.insert(name.clone(), path.clone());
            }
            let Some(path) = path else { continue };
            self.0.module.imported.insert(name, path.clone());
            self.0.module.paths.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(item) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, _: &'ast ItemUse) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        visit::visit_path(self, path);
    }

    /// Within a macro there are no paths yet, only their words.
    fn visit_macro(&mut self, it: &'ast Macro) {
        visit::visit_macro(self, it);
        let text = it.tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            let parts: Name = word.split("::").map(str::to_owned).collect();
            if parts.len() > 1 {
                self.note(&parts);
            }
        }
    }
}

fn is_test(item: &ItemMod) -> bool {
    item.attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

/// The paths of a `use`, each with the name that it gets here.
fn flatten(tree: &UseTree, before: &mut Name, leaves: &mut Vec<(Name, String)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) => {
            let path: Name = before.iter().cloned().chain([name.ident.to_string()]).collect();
            let is_self = name.ident == "self";
            let name =
                if is_self { before.last().cloned().unwrap_or_default() } else { name.ident.to_string() };
            leaves.push((path, name));
        }
        UseTree::Rename(rename) => {
            let path = before.iter().cloned().chain([rename.ident.to_string()]).collect();
            leaves.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => leaves.push((before.clone(), "*".to_owned())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
    }
}

/// The module that has what a path names; `None` if that is no module of this crate, or exports lead around.
fn home(modules: &Modules, path: &[String], exports: usize) -> Option<Name> {
    let mut at = Name::new();
    for name in path {
        if !modules.get(&at)?.children.contains(name) {
            break;
        }
        at.push(name.clone());
    }
    let Some(exported) = path.get(at.len()).and_then(|name| modules.get(&at)?.exported.get(name)) else {
        return Some(at);
    };
    let behind: Name = exported.as_ref()?.iter().chain(&path[at.len() + 1..]).cloned().collect();
    home(modules, &behind, exports.checked_sub(1)?)
}

/// By so many exports at most a name leads from one module to another.
const MOST_EXPORTS: usize = 8;

/// Which modules each module needs, those around it and itself left out.
fn needs(modules: &Modules) -> BTreeMap<&Name, BTreeSet<Name>> {
    let homes = |name: &Name, module: &Module| {
        let homes = module.paths.iter().filter_map(|path| home(modules, path, MOST_EXPORTS));
        homes.filter(|home| !name.starts_with(home)).collect()
    };
    modules.iter().map(|(name, module)| (name, homes(name, module))).collect()
}

/// The circles: the modules that need each other, by way of others too.
fn circles(modules: &Modules) -> BTreeSet<Vec<String>> {
    let needs = needs(modules);
    let reach = |from: &Name| {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(at) = left.pop() {
            for next in needs.get(at).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&Name, BTreeSet<Name>> = modules.keys().map(|name| (name, reach(name))).collect();
    let circle_of = |name: &Name| {
        let back = |other: &&Name| reached[name].contains(*other) && reached[other].contains(name);
        let shown = modules.keys().filter(back).map(|name| name.join("::"));
        let circle: Vec<String> =
            shown.map(|name| if name.is_empty() { "lib".into() } else { name }).collect();
        (circle.len() > 1).then_some(circle)
    };
    modules.keys().filter_map(circle_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_circles_between_the_modules_of_a_crate() -> anyhow::Result<()> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
        let (_, members) = manifest.split_once("members = [").context("the members")?;
        let members = members.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2);
        let mut found = BTreeMap::new();
        for member in members {
            let root = workspace.join(member).join("src/lib.rs");
            if root.exists() {
                let circles = circles(&read(&root)?);
                if !circles.is_empty() {
                    found.insert(member.to_owned(), circles);
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
        Ok(())
    }

    #[test]
    fn a_circle_is_found_through_an_export_and_past_its_tests() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text);
        write("lib.rs", "mod one; mod two; mod three; pub use three::Thing; fn own() {}")?;
        write(
            "one.rs",
            "use crate::two; fn f() { two::g() } #[cfg(test)] mod tests { use crate::three::h; }",
        )?;
        write("two.rs", "pub fn g() { println!(\"{}\", crate::one::F) }")?;
        write("three.rs", "pub struct Thing; fn h(_: crate::Thing) { super::one::f(); crate::own() }")?;
        let found = circles(&read(&dir.path().join("lib.rs"))?);
        assert_eq!(found, BTreeSet::from([vec!["one".to_owned(), "two".to_owned()]]));
        Ok(())
    }
}
