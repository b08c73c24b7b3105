//! What `%windir%\System32\inetsrv\appcmd.exe` is asked about a pool at run time, and what its answers mean.
//!
//! Each argument list is for a process that is started without a shell: an argument is one string, blanks and
//! all. Not in here: starting it. Source: "Getting Started with AppCmd.exe" (Microsoft).

use std::fmt;

/// A name that cannot be an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no name of an application pool: {why}")]
pub struct NameError {
    name: String,
    why: &'static str,
}

/// What to do with a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Stop it: requests get 503.
    Stop,
    /// Start it.
    Start,
    /// Replace its process.
    Recycle,
    /// Say its [`State`], and nothing else.
    State,
}

/// The arguments behind `appcmd.exe`.
///
/// # Errors
/// [`NameError`]: empty, longer than 256 characters (a bound of this function's), or with one of the characters that
/// IIS forbids in the names of pools and that mean something on a command line. So no name becomes two arguments, or
/// an option. Source: `IAppHostPropertySchema::ValidationType`, `applicationPoolName`.
pub fn arguments(command: Command, pool: &str) -> Result<Vec<String>, NameError> {
    let error = |why| Err(NameError { name: pool.chars().take(80).collect(), why });
    if pool.is_empty() {
        return error("it is empty");
    }
    if pool.chars().count() > 256 {
        return error("it has more than 256 characters");
    }
    if pool.contains(['|', '<', '>', '&', '"', '/']) || pool.chars().any(char::is_control) {
        return error("it has one of | < > & \" / or a control character");
    }
    let verb = match command {
        Command::Stop => "stop",
        Command::Start => "start",
        Command::Recycle => "recycle",
        Command::State => "list",
    };
    let mut arguments = vec![verb.to_owned(), "apppool".to_owned()];
    if command == Command::State {
        arguments.extend([pool.to_owned(), "/text:state".to_owned()]);
    } else {
        arguments.push(format!("/apppool.name:{pool}"));
    }
    Ok(arguments)
}

/// The state of a pool at run time (`ObjectState` in Microsoft.Web.Administration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On its way up.
    Starting,
    /// Serving.
    Started,
    /// On its way down.
    Stopping,
    /// Answering 503.
    Stopped,
    /// IIS cannot tell; so it answers while its services do not run.
    Unknown,
}

/// An answer that says no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    /// Nothing at all: `list` found no such pool.
    NoPool,
    /// `ERROR ( … )`, what it says inside.
    Refused {
        /// `80070005`, where it names one.
        hresult: Option<String>,
        /// The words, in the server's language.
        message: String,
    },
    /// Something else; its beginning.
    Unreadable(String),
}

impl std::error::Error for AnswerError {}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerError::NoPool => f.write_str("appcmd knows no such application pool"),
            AnswerError::Refused { hresult: Some(code), message } => {
                write!(f, "appcmd: {message} (0x{code})")
            }
            AnswerError::Refused { hresult: None, message } => write!(f, "appcmd: {message}"),
            AnswerError::Unreadable(found) => {
                write!(f, "appcmd said {found:?}; expected Started, Starting, Stopped, Stopping or Unknown")
            }
        }
    }
}

/// Reads the answer to [`Command::State`].
///
/// # Errors
/// [`AnswerError`]; an answer that is not known is no state.
pub fn state(answer: &str) -> Result<State, AnswerError> {
    let text = answer.trim();
    if let Some(refused) = refusal(text) {
        return Err(refused);
    }
    match text {
        "" => Err(AnswerError::NoPool),
        "Starting" => Ok(State::Starting),
        "Started" => Ok(State::Started),
        "Stopping" => Ok(State::Stopping),
        "Stopped" => Ok(State::Stopped),
        "Unknown" => Ok(State::Unknown),
        other => Err(AnswerError::Unreadable(shortened(other))),
    }
}

/// What an answer to any command complains of: `ERROR ( hresult:80070005, message:Command execution failed. )`,
/// `ERROR ( message:Cannot find … )`. Nothing where it does not complain; the exit code has the last word.
pub fn refusal(answer: &str) -> Option<AnswerError> {
    let inside = answer.trim().strip_prefix("ERROR (")?.trim_end().trim_end_matches(')').trim();
    let (hresult, rest) = match inside.strip_prefix("hresult:").and_then(|rest| rest.split_once(',')) {
        Some((code, rest)) => (Some(shortened(code.trim())), rest.trim_start()),
        None => (None, inside),
    };
    let message = shortened(rest.strip_prefix("message:").unwrap_or(rest).trim());
    Some(AnswerError::Refused { hresult, message })
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}
