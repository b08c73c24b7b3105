//! The calls. Each wrapper takes and returns values of Rust, and says why its call is sound.
#![allow(unsafe_code, reason = "the one module that calls Windows itself")]

use std::ffi::{OsStr, OsString, c_void};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use windows_service::service::Service;
use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, GlobalFree, HANDLE, LocalFree};
use windows_sys::Win32::Networking::WinHttp::{
    WINHTTP_ACCESS_TYPE_NAMED_PROXY, WINHTTP_PROXY_INFO, WinHttpGetDefaultProxyConfiguration,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW, SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetSecurityDescriptorControl, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SE_DACL_PROTECTED, SECURITY_ATTRIBUTES,
    SetFileSecurityW, UNPROTECTED_DACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, ChangeServiceConfigW, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, SERVICE_NO_CHANGE,
    SERVICE_REQUIRED_PRIVILEGES_INFOW,
};

/// The revision of security descriptors as text (SDDL_REVISION_1).
const SDDL_REVISION: u32 = 1;

/// A text as Windows takes it: UTF-16 with a zero at its end.
fn wide(text: impl AsRef<OsStr>) -> io::Result<Vec<u16>> {
    let mut units: Vec<u16> = text.as_ref().encode_wide().collect();
    if units.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a zero within a text"));
    }
    units.push(0);
    Ok(units)
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A security descriptor that the system made from text; freed with this value.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn of(sddl: &str) -> io::Result<Descriptor> {
        let text = wide(sddl)?;
        let mut made: PSECURITY_DESCRIPTOR = ptr::null_mut();
        // SAFETY: the text ends with a zero and outlives the call, and `made` is a place for one pointer. The size is not
        // asked for.
        let result = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION,
                &mut made,
                ptr::null_mut(),
            )
        };
        done(result)?;
        Ok(Descriptor(made))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the conversion, whose documentation has it freed with LocalFree, and is freed
        // once, since this value is neither copied nor cloned.
        unsafe { LocalFree(self.0.cast()) };
    }
}

/// Makes a folder that has these permissions from its first moment, in SDDL. `false`: something stood there already.
pub fn create_protected(folder: &Path, sddl: &str) -> io::Result<bool> {
    let (path, descriptor) = (wide(folder)?, Descriptor::of(sddl)?);
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero; the attributes and the descriptor that they point to outlive the call.
    match done(unsafe { CreateDirectoryW(path.as_ptr(), &attributes) }) {
        Err(error) if error.raw_os_error() == i32::try_from(ERROR_ALREADY_EXISTS).ok() => Ok(false),
        made => made.map(|()| true),
    }
}

/// Gives a folder or file these permissions, in SDDL, and takes away what it inherits. With an owner in the text, that
/// owner, too.
pub fn protect(path: &Path, sddl: &str) -> io::Result<()> {
    let (path, descriptor) = (wide(path)?, Descriptor::of(sddl)?);
    let owner = if sddl.starts_with("O:") { OWNER_SECURITY_INFORMATION } else { 0 };
    let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION | owner;
    // SAFETY: the path ends with a zero, and the descriptor is one that the system made; both outlive the call.
    done(unsafe { SetFileSecurityW(path.as_ptr(), what, descriptor.0) })
}

/// Asks for parts of what the system holds of a file's or folder's security: the owner's place in it, and all of it.
fn security(path: &Path, what: u32) -> io::Result<(PSID, Descriptor)> {
    let path = wide(path)?;
    let (mut sid, mut made): (PSID, PSECURITY_DESCRIPTOR) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the path ends with a zero; `sid` and `made` are places for one pointer each, and the other places, which
    // are null, are not asked for. `sid` is only written where `what` has the owner, and points into what `made` does.
    let code = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            what,
            &mut sid,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &mut made,
        )
    };
    match code {
        0 => Ok((sid, Descriptor(made))),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

/// Who owns a file or folder, as a SID in text: `S-1-5-18` is the system, `S-1-5-32-544` the administrators.
pub fn owner(path: &Path) -> io::Result<String> {
    // Freed at the end of this function; `sid` points into it.
    let (sid, _descriptor) = security(path, OWNER_SECURITY_INFORMATION)?;
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: `sid` is the owner that was asked for, within a descriptor that still lives; `text` is a place for
    // one pointer.
    done(unsafe { ConvertSidToStringSidW(sid, &mut text) })?;
    Ok(take_text(text, |text| {
        // SAFETY: the text was made by the call above, which has it freed with LocalFree.
        unsafe { LocalFree(text.cast()) };
    }))
}

/// Who may do what with a file or folder, in SDDL: `D:` and its list.
pub fn permissions(path: &Path) -> io::Result<String> {
    let (_, descriptor) = security(path, DACL_SECURITY_INFORMATION)?;
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: the descriptor is one that the system made and lives; `text` is a place for one pointer. The length is not
    // asked for.
    done(unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor.0,
            SDDL_REVISION,
            DACL_SECURITY_INFORMATION,
            &mut text,
            ptr::null_mut(),
        )
    })?;
    Ok(take_text(text, |text| {
        // SAFETY: the text was made by the call above, which has it freed with LocalFree.
        unsafe { LocalFree(text.cast()) };
    }))
}

/// Gives a file the permissions of another, entry by entry, whether inherited or its own, and its owner where this
/// process may give that: an owner other than oneself takes a privilege, and who may do what does not depend on it.
pub fn protect_like(path: &Path, like: &Path) -> io::Result<()> {
    let (_, list) = security(like, DACL_SECURITY_INFORMATION)?;
    let (mut control, mut revision) = (0, 0);
    // SAFETY: the descriptor is one that the system made and lives; the two places are for one number each.
    done(unsafe { GetSecurityDescriptorControl(list.0, &mut control, &mut revision) })?;
    let inherits = match control & SE_DACL_PROTECTED {
        0 => UNPROTECTED_DACL_SECURITY_INFORMATION,
        _ => PROTECTED_DACL_SECURITY_INFORMATION,
    };
    let to = wide(path)?;
    // SAFETY: the path ends with a zero, and the descriptor is one that the system made; both outlive the call.
    done(unsafe { SetFileSecurityW(to.as_ptr(), DACL_SECURITY_INFORMATION | inherits, list.0) })?;
    let (_, owner) = security(like, OWNER_SECURITY_INFORMATION)?;
    // SAFETY: as above. What it answers does not matter, as the documentation of this function says.
    unsafe { SetFileSecurityW(to.as_ptr(), OWNER_SECURITY_INFORMATION, owner.0) };
    Ok(())
}

/// Changes when a service starts, and nothing else of it. `windows-service` would write its program's path and arguments
/// anew with it. `start`: SERVICE_AUTO_START, SERVICE_DEMAND_START, SERVICE_DISABLED.
pub fn set_start_type(service: &Service, start: u32) -> io::Result<()> {
    let none = ptr::null();
    // SAFETY: the handle is open while `service` lives. SERVICE_NO_CHANGE and null have the system leave what they stand
    // for (ChangeServiceConfigW, "Parameters"); no tag is asked for.
    done(unsafe {
        ChangeServiceConfigW(
            service.raw_handle(),
            SERVICE_NO_CHANGE,
            start,
            SERVICE_NO_CHANGE,
            none,
            none,
            ptr::null_mut(),
            none,
            none,
            none,
            none,
        )
    })
}

/// Leaves a service's process these privileges alone, from its next start.
pub fn set_privileges(service: &Service, privileges: &[&str]) -> io::Result<()> {
    let mut list = Vec::new();
    for privilege in privileges {
        list.extend(wide(privilege)?);
    }
    list.push(0);
    let info = SERVICE_REQUIRED_PRIVILEGES_INFOW { pmszRequiredPrivileges: list.as_mut_ptr() };
    // SAFETY: the handle is open while `service` lives; the structure is the one of this level, and the list in it, texts
    // with a zero each and a zero at the end, outlives the call, which does not write to it.
    done(unsafe {
        ChangeServiceConfig2W(
            service.raw_handle(),
            SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
            ptr::from_ref(&info).cast::<c_void>(),
        )
    })
}

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Severity {
    Information,
    Warning,
    Error,
}

/// A source of the machine's event log, open.
#[derive(Debug)]
pub struct EventLog(HANDLE);

// SAFETY: the handle is a number that the event log service knows, bound to no thread; ReportEventW may be called from any.
unsafe impl Send for EventLog {}
// SAFETY: as above; ReportEventW does not change what the handle stands for.
unsafe impl Sync for EventLog {}

impl EventLog {
    /// Opens the source of this name; one that nobody registered writes to the log "Application".
    pub fn open(source: &str) -> io::Result<EventLog> {
        let source = wide(source)?;
        // SAFETY: the name ends with a zero and outlives the call; no server means this one.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), source.as_ptr()) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(EventLog(handle)) }
    }

    /// Writes one event with one text. Windows takes at most 31,839 characters of it.
    pub fn report(&self, severity: Severity, id: u32, text: &str) -> io::Result<()> {
        let cut: String = text.chars().map(|c| if c == '\0' { ' ' } else { c }).take(15_000).collect();
        let text = wide(cut)?;
        let texts = [text.as_ptr()];
        let kind = match severity {
            Severity::Information => EVENTLOG_INFORMATION_TYPE,
            Severity::Warning => EVENTLOG_WARNING_TYPE,
            Severity::Error => EVENTLOG_ERROR_TYPE,
        };
        // SAFETY: the handle is open while this value lives; `texts` is one pointer to a text with a zero at its end, as
        // the count says, and both outlive the call. There is no user and there are no further octets.
        done(unsafe { ReportEventW(self.0, kind, 0, id, ptr::null_mut(), 1, 0, texts.as_ptr(), ptr::null()) })
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle came from RegisterEventSourceW and is given back once.
        unsafe { DeregisterEventSource(self.0) };
    }
}

/// The proxy that `netsh winhttp set proxy` set for the services of this machine, and what bypasses it, as they stand
/// there; nothing where requests go out directly.
pub fn machine_proxy() -> io::Result<Option<(String, String)>> {
    let mut info = WINHTTP_PROXY_INFO::default();
    // SAFETY: `info` is a place for the structure that the call fills.
    done(unsafe { WinHttpGetDefaultProxyConfiguration(&mut info) })?;
    let named = info.dwAccessType == WINHTTP_ACCESS_TYPE_NAMED_PROXY;
    let free = |text: *mut u16| {
        // SAFETY: WinHttpGetDefaultProxyConfiguration has its caller free each text with GlobalFree.
        unsafe { GlobalFree(text.cast()) };
    };
    let [proxy, bypass] = [info.lpszProxy, info.lpszProxyBypass].map(|text| take_text(text, free));
    Ok(named.then_some((proxy, bypass)))
}

/// Reads a text that the system made, and frees it; an empty one where there is none.
fn take_text(text: *mut u16, free: impl FnOnce(*mut u16)) -> String {
    if text.is_null() {
        return String::new();
    }
    let mut units = Vec::new();
    for at in 0..64 << 10 {
        // SAFETY: the system's texts end with a zero, and nothing behind it is read. Only callers in this file reach this,
        // each with a text that it has just been given.
        match unsafe { *text.add(at) } {
            0 => break,
            unit => units.push(unit),
        }
    }
    free(text);
    OsString::from_wide(&units).to_string_lossy().into_owned()
}

/// What the service does. A function and no closure: the system calls it, and hands over nothing of ours.
static SERVICE: OnceLock<fn()> = OnceLock::new();

/// Connects this process to the service control manager, which then has `service` run on a thread of its own; returns
/// when the service has stopped. An error with code 1063: this process was not started as a service.
pub fn start_dispatcher(name: &str, service: fn()) -> windows_service::Result<()> {
    SERVICE.get_or_init(|| service);
    windows_service::service_dispatcher::start(name, entry)
}

/// Where the system enters. Its arguments are not read: nothing is decided by them.
extern "system" fn entry(_count: u32, _arguments: *mut *mut u16) {
    if let Some(service) = SERVICE.get() {
        service();
    }
}
