//! Maps a staged plugin and takes its function table: what `dlopen` and `abi_stable` are needed for, and nothing else.
//!
//! Run by the probe's child first and by the engine only after that, on the same file. Nothing here goes through
//! `abi_stable`'s own loading or its global caches: those give the first version back when a second one is loaded.

use std::{path::Path, sync::Arc};

use abi_stable::{
    abi_stability::abi_checking::{
        AbiInstability, AbiInstabilityError, AbiInstabilityErrors, CheckingGlobals, ExpectedFound,
        check_layout_compatibility_with_globals,
    },
    library::{AbiHeaderRef, LibHeader, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModule as _},
    type_layout::{TLFieldOrFunction, TypeLayout},
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use logic_api::abi::{CONTRACT, LogicModuleRef};
use room::{BadLogic, LogicVersion};

use super::map_fault::MapFault;

/// The symbol that makes a shared library a plugin.
pub const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// Maps the plugin staged at `path` for the life of the process.
///
/// `path` must never have held other bytes while this process has lived: the dynamic linker would give the old code back.
/// Whether it did is told by [`LogicVersion::build_id`], which the caller compares with the file's.
///
/// # Errors
/// [`MapFault`]. The file stays mapped all the same: its constructors have run.
pub fn map(path: &Path) -> Result<Arc<LogicVersion>, MapFault> {
    let header = open(path)?;
    check_contract(header)?;
    check_layout(header)?;
    let module = module(header)?;
    // SAFETY: the layout check has found the table's type to be ours, down to every type that its functions take; the
    // library is never unmapped. That its functions do what the contract says is what makes it a plugin.
    unsafe { LogicVersion::new(module.table(), module.query_ext()) }.map_err(|error| match error {
        BadLogic::Contract { found } => {
            MapFault::Contract { expected: format!("contract {CONTRACT}"), found: format!("contract {found}") }
        }
        error => MapFault::Logic { reason: error.to_string() },
    })
}

fn open(path: &Path) -> Result<&'static LibHeader, MapFault> {
    let linker = |error: libloading::Error| MapFault::Linker { reason: without_path(&error, path) };
    // SAFETY: runs the library's constructors, which may do anything; the probe's child has survived them.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(linker)?;
    // SAFETY: the symbol is named after its type by `abi_stable`, and whoever exports it under that name promises the type.
    let header = unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL) }.map(|symbol| *symbol);
    // Never unmapped: destructors of the standard library's thread-locals point into it and run when their thread ends,
    // and every reference handed out below says 'static.
    std::mem::forget(library);
    let header = header.map_err(linker)?;
    header.upgrade().map_err(|error| match error {
        LibraryError::InvalidAbiHeader(_) => MapFault::Header,
        error => MapFault::Root { reason: first_line(&error.to_string()) },
    })
}

/// Compared before the layout is looked at, because it is the reason that an operator can act on.
fn check_contract(header: &LibHeader) -> Result<(), MapFault> {
    let expected = LogicModuleRef::VERSION_STRINGS.version.as_str();
    let versions = header.version_strings();
    let found = versions.version.as_str();
    if found == expected {
        return Ok(());
    }
    Err(MapFault::Contract { expected: expected.to_owned(), found: found.to_owned() })
}

fn check_layout(header: &LibHeader) -> Result<(), MapFault> {
    let Some(found) = header.layout() else {
        return Err(MapFault::Layout { difference: "it has no description of its types".to_owned() });
    };
    // Fresh ones: `abi_stable`'s own remember the first plugin's types for the life of the process.
    let globals = CheckingGlobals::new();
    let expected = <LogicModuleRef as abi_stable::StableAbi>::LAYOUT;
    check_layout_compatibility_with_globals(expected, found, &globals)
        .map_err(|errors| MapFault::Layout { difference: difference(&errors) })
}

fn module(header: &'static LibHeader) -> Result<LogicModuleRef, MapFault> {
    // SAFETY: the layout has been checked.
    let module = unsafe { header.init_root_module_with_unchecked_layout::<LogicModuleRef>() };
    module.map_err(|error| MapFault::Root { reason: first_line(&error.to_string()) })
}

/// What of a report of several pages a person needs: the innermost of the first differences.
fn difference(errors: &AbiInstabilityErrors) -> String {
    let Some(error) = innermost(&errors.errors) else {
        return "the shared types differ".to_owned();
    };
    let trace = Trace::of(errors, error);
    // Of a parameter of another type altogether; what differs within a type is told of that type.
    let is_name = |fault: &AbiInstability| matches!(fault, AbiInstability::Name(_));
    let is_last = matches!(error.stack_trace.last().map(|at| &at.expected), Some(TLFieldOrFunction::Function(_)));
    if let Some(function) = trace.function.filter(|_| is_last || error.errs.iter().any(is_name)) {
        return format!("the shared type `{}` differs in what `{function}` takes or returns", trace.owner.name());
    }
    let (owner, inside) = (trace.owner.name(), trace.inside.name());
    let told = error.errs.iter().find_map(|fault| match fault {
        AbiInstability::Name(ExpectedFound { expected, found }) => {
            let field = trace.field;
            Some(format!("the shared type `{owner}` differs in field `{field}`: expected {expected}, found {found}"))
        }
        AbiInstability::UnexpectedField(ExpectedFound { expected, found }) => {
            let (expected, found) = (expected.name(), found.name());
            Some(format!("the shared type `{inside}` has the field `{found}` where `{expected}` belongs"))
        }
        _ => None,
    });
    told.unwrap_or_else(|| match error.errs.first() {
        Some(AbiInstability::FieldCountMismatch(ExpectedFound { expected, found })) => {
            format!("the shared type `{inside}` has another number of fields: expected {expected}, found {found}")
        }
        Some(AbiInstability::Size(ExpectedFound { expected, found })) => {
            format!("the shared type `{inside}` has another size: expected {expected} bytes, found {found}")
        }
        Some(AbiInstability::Alignment(ExpectedFound { expected, found })) => {
            format!("the shared type `{inside}` has another alignment: expected {expected}, found {found}")
        }
        _ => format!("the shared type `{inside}` differs"),
    })
}

/// The first error that names a reason, or the deepest one below it.
fn innermost(errors: &[AbiInstabilityError]) -> Option<&AbiInstabilityError> {
    let mut named = errors.iter().filter(|error| !error.errs.is_empty());
    let mut innermost = named.next()?;
    for error in named {
        let depth = innermost.stack_trace.len();
        // A type whose size differs says less than its field whose type does.
        let is_below = error.stack_trace.len() > depth && error.stack_trace[..depth] == innermost.stack_trace[..];
        let is_vague = !innermost.errs.iter().any(|fault| matches!(fault, AbiInstability::UnexpectedField(_)));
        if is_below && is_vague {
            innermost = error;
        }
    }
    Some(innermost)
}

/// Where the checker stood when it found an error.
struct Trace {
    /// The type that has `field`, or the function pointer `function`.
    owner: &'static TypeLayout,
    field: &'static str,
    /// The type of `field`.
    inside: &'static TypeLayout,
    /// Set if what came last is a function, or one of its parameters.
    function: Option<&'static str>,
}

impl Trace {
    fn of(errors: &AbiInstabilityErrors, error: &AbiInstabilityError) -> Self {
        let mut trace = Self { owner: errors.interface, field: "", inside: errors.interface, function: None };
        let mut is_after_function = false;
        for at in &error.stack_trace {
            match &at.expected {
                TLFieldOrFunction::Function(_) => {
                    trace.function = Some(trace.field);
                    is_after_function = true;
                }
                // A parameter, or what a pointer points to: an error in it is one of the function or the field.
                TLFieldOrFunction::Field(field) if is_after_function || trace.inside.name().starts_with('*') => {
                    trace.inside = field.layout();
                    is_after_function = false;
                }
                TLFieldOrFunction::Field(field) => {
                    let owner = trace.inside;
                    trace = Self { owner, field: field.name(), inside: field.layout(), function: None };
                }
            }
        }
        trace
    }
}

/// The linker's own words, without the path of the staged copy, which says nothing to the operator.
fn without_path(error: &libloading::Error, path: &Path) -> String {
    use std::error::Error as _;
    let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let path = path.display().to_string();
    first_line(text.strip_prefix(&path).unwrap_or(&text).trim_start_matches(": "))
}

fn first_line(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi_stable::StableAbi;

    macro_rules! shared_types {
        ($module:ident: call { $($call:tt)* }, insert: $insert:ty) => {
            mod $module {
                use abi_stable::StableAbi;

                #[repr(C)]
                #[derive(StableAbi)]
                pub(super) struct Call {
                    $($call)*
                    host: *const Host,
                }
                #[repr(C)]
                #[derive(StableAbi)]
                pub(super) struct Host {
                    insert: $insert,
                }
                #[repr(C)]
                #[derive(StableAbi)]
                pub(super) struct Root {
                    tick: extern "C" fn(call: *const Call) -> u32,
                }
            }
        };
    }

    shared_types!(ours: call { tick: u64, player: u64, }, insert: extern "C" fn(row: *const u8) -> u32);
    shared_types!(same: call { tick: u64, player: u64, }, insert: extern "C" fn(row: *const u8) -> u32);
    shared_types!(other_field: call { tick: u32, player: u64, }, insert: extern "C" fn(row: *const u8) -> u32);
    shared_types!(moved_field: call { player: u64, tick: u64, }, insert: extern "C" fn(row: *const u8) -> u32);
    shared_types!(more_fields: call { tick: u64, player: u64, more: u64, }, insert: extern "C" fn(row: *const u8) -> u32);
    shared_types!(other_parameter: call { tick: u64, player: u64, }, insert: extern "C" fn(row: *const u32) -> u32);
    shared_types!(more_parameters: call { tick: u64, player: u64, }, insert: extern "C" fn(row: *const u8, len: u64) -> u32);

    fn check<Theirs: StableAbi>(expected: &str) {
        let globals = CheckingGlobals::new();
        let (interface, implementation) = (ours::Root::LAYOUT, Theirs::LAYOUT);
        let result = check_layout_compatibility_with_globals(interface, implementation, &globals);
        assert_eq!(result.map_or_else(|errors| difference(&errors), |()| "the same".to_owned()), expected);
    }

    #[test]
    fn a_difference_is_told_by_type_and_field() {
        check::<same::Root>("the same");
        check::<other_field::Root>("the shared type `Call` differs in field `tick`: expected u64, found u32");
        check::<moved_field::Root>("the shared type `Call` has the field `player` where `tick` belongs");
        check::<more_fields::Root>("the shared type `Call` has the field `more` where `host` belongs");
    }

    #[test]
    fn a_difference_in_a_function_is_told_by_its_name() {
        check::<other_parameter::Root>("the shared type `Host` differs in what `insert` takes or returns");
        check::<more_parameters::Root>("the shared type `Host` differs in what `insert` takes or returns");
    }
}
