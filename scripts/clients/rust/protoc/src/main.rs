//! A `protoc` for builds that call one: protox under the few flags that prost-build passes.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut output = None;
    let (mut includes, mut files) = (Vec::new(), Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // protox does both always.
            "--include_imports" | "--include_source_info" => {}
            "-I" => includes.extend(arguments.next().map(PathBuf::from)),
            "-o" => output = arguments.next(),
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}").into()),
            file => files.push(PathBuf::from(file)),
        }
    }
    let descriptors = protox::Compiler::new(includes)?
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?
        .encode_file_descriptor_set();
    fs::write(output.ok_or("no -o")?, descriptors)?;
    Ok(())
}
