//! Embeds what browsers load: `web/dist` and `static`, as they are now.
//!
//! It never builds them: `make web` does. Where they are missing, or older than what they are made
//! of, it says so.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=PORTHOLE_SKIP_WEB");
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let (dist, fixed) = (root.join("web/dist"), root.join("static"));
    let mut files = Vec::new();
    collect(&fixed, &fixed, &mut files)?;
    if env::var_os("PORTHOLE_SKIP_WEB").is_none() {
        check_fresh(&root, &dist)?;
        collect(&dist, &dist, &mut files)?;
    }
    // The watched directories tell of files that come and go, the files of their content.
    for directory in [&dist, &fixed, &root.join("web/src")] {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    files.sort();
    if let Some(twice) = files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        println!(
            "cargo::error=web/dist and static both have a file {}",
            twice[0].0
        );
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("files.rs"), table(&files, &out)?)?;
    Ok(())
}

/// Every file below a directory: its name there, and its path.
fn collect(
    base: &Path,
    directory: &Path,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), Box<dyn Error>> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(base, &path, files)?;
        } else {
            let name = path.strip_prefix(base)?.to_string_lossy().into_owned();
            files.push((name, path));
        }
    }
    Ok(())
}

fn times(directory: &Path) -> Result<Vec<SystemTime>, Box<dyn Error>> {
    let mut files = Vec::new();
    collect(directory, directory, &mut files)?;
    files
        .iter()
        .map(|(_, path)| Ok(fs::metadata(path)?.modified()?))
        .collect()
}

fn check_fresh(root: &Path, dist: &Path) -> Result<(), Box<dyn Error>> {
    let Some(built) = times(dist)?.into_iter().min() else {
        println!(
            "cargo::error=web/dist is missing: run `make web` first (or `make build`, which does it all)"
        );
        return Ok(());
    };
    let changed = times(&root.join("web/src"))?.into_iter().max();
    if changed.is_some_and(|changed| changed > built) {
        let what =
            "web/dist is older than web/src, browsers would get the old pages: run `make web`";
        if env::var("PROFILE").as_deref() == Ok("release") {
            println!("cargo::error={what}");
        } else {
            println!("cargo::warning={what}");
        }
    }
    Ok(())
}

fn table(files: &[(String, PathBuf)], out: &Path) -> Result<String, Box<dyn Error>> {
    let mut all = Sha256::new();
    let mut rows = String::new();
    for (number, (name, path)) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", path.display());
        let bytes = fs::read(path)?;
        all.update((name.len() as u64).to_be_bytes());
        all.update(name.as_bytes());
        all.update((bytes.len() as u64).to_be_bytes());
        all.update(&bytes);
        let (plain, packed) = (
            out.join(format!("{number}")),
            out.join(format!("{number}.gz")),
        );
        // No time and no name inside: the same content gives the same file.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        fs::write(&packed, gzip.finish()?)?;
        fs::write(&plain, bytes)?;
        writeln!(
            rows,
            "    File {{ name: {name:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({packed:?}) }},"
        )?;
    }
    let mut hash = String::new();
    for byte in &all.finalize()[..8] {
        write!(hash, "{byte:02x}")?;
    }
    Ok(format!(
        "/// Changes with the content of any file.\nconst VERSION: &str = {hash:?};\n/// By name.\nstatic FILES: &[File] = &[\n{rows}];\n"
    ))
}
