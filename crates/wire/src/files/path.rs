//! Names that may be written below a directory, whoever chose them.
//!
//! A [`RelPath`] is one to [`MAX_COMPONENTS`] components joined by `/`, none of which any system takes
//! for something else than a name. Parsing is the only door.

use std::{
    cmp::Ordering,
    fmt::{self, Write as _},
    str::FromStr,
};

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

/// Longest component in bytes of UTF-8: what common file systems allow.
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Longest path in bytes of UTF-8, slashes included.
pub const MAX_PATH_BYTES: usize = 4096;
/// Deepest path.
pub const MAX_COMPONENTS: usize = 128;

/// A valid relative path of `/`-separated components.
///
/// Ordered component by component, bytes by bytes, so that a directory comes before what is in it
/// and what is in it before its next sibling.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelPath(Box<str>);

/// A [`RelPath`] that is kept elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RelRef<'a>(&'a str);

/// A path that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} cannot be used: {fault}")]
pub struct PathError {
    /// What was given, shortened.
    pub path: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

/// What is wrong with a path or a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// Nothing, or nothing between two slashes, or a slash at either end.
    #[error("it has an empty component")]
    Empty,
    /// `.` or `..`.
    #[error("it has a component `.` or `..`")]
    Dots,
    /// A character that some system reads as something else than a name, or that is not shown.
    #[error("the character U+{:04X} is not allowed in names", u32::from(*.0))]
    Character(char),
    /// A device name of Windows, such as `CON` or `nul.txt`.
    #[error("it has a name that Windows reserves for a device")]
    Reserved,
    /// A component ends with a dot or a space, which Windows drops.
    #[error("a component ends with a dot or a space")]
    Trailing,
    /// A component above [`MAX_COMPONENT_BYTES`].
    #[error("a component is longer than {MAX_COMPONENT_BYTES} bytes")]
    LongComponent,
    /// The path is above [`MAX_PATH_BYTES`].
    #[error("it is longer than {MAX_PATH_BYTES} bytes")]
    Long,
    /// There are more than [`MAX_COMPONENTS`] components.
    #[error("it has more than {MAX_COMPONENTS} components")]
    Deep,
    /// A path where one name is wanted.
    #[error("a single name is wanted here, without `/`")]
    Many,
}

impl RelPath {
    /// Takes a path that is valid.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong: rename the file, or skip it.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        RelRef::parse(path).map(RelRef::to_owned)
    }

    /// Takes a single component.
    ///
    /// # Errors
    /// [`PathError`], also for a path with several components.
    pub fn parse_name(name: &str) -> Result<Self, PathError> {
        check_name(name).map_err(|fault| refused(name, fault))?;
        Ok(Self(name.into()))
    }

    /// The same path, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> RelRef<'_> {
        RelRef(&self.0)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of something called `name` within this directory.
    ///
    /// # Errors
    /// [`PathError`] when the name is not one, or the whole is too long or too deep.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        check_name(name).map_err(|fault| refused(name, fault))?;
        Self::parse(&format!("{}/{name}", self.0))
    }
}

impl<'a> RelRef<'a> {
    /// Takes a path that is valid.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong.
    pub fn parse(path: &'a str) -> Result<Self, PathError> {
        check(path).map_err(|fault| refused(path, fault))?;
        Ok(Self(path))
    }

    /// Text that was checked before.
    pub(super) fn trusted(path: &'a str) -> Self {
        Self(path)
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(self) -> RelPath {
        RelPath(self.0.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The components, outermost first.
    pub fn components(self) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.split('/')
    }

    /// The last component.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.0.rsplit('/').next().unwrap_or(self.0)
    }

    /// The directory this is in; `None` at the top.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent))
    }

    /// How many components there are.
    #[must_use]
    pub fn depth(self) -> usize {
        1 + self.0.bytes().filter(|byte| *byte == b'/').count()
    }
}

impl Ord for RelRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts before all that names may contain, so bytes compare as components do.
        let bytes = |byte| if byte == b'/' { 0 } else { byte };
        self.0.bytes().map(bytes).cmp(other.0.bytes().map(bytes))
    }
}

impl PartialOrd for RelRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for RelPath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
as_text!(RelPath, RelRef<'_>);

fn refused(path: &str, fault: PathFault) -> PathError {
    let mut shown: String = path.chars().take(120).collect();
    if shown.len() < path.len() {
        let _ = shown.write_char('…');
    }
    PathError { path: shown, fault }
}

fn check(path: &str) -> Result<(), PathFault> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathFault::Long);
    }
    for (at, name) in path.split('/').enumerate() {
        if at == MAX_COMPONENTS {
            return Err(PathFault::Deep);
        }
        check_name(name)?;
    }
    Ok(())
}

/// Whether one component can be used, and what is wrong with it otherwise.
///
/// # Errors
/// [`PathFault`].
pub fn check_name(name: &str) -> Result<(), PathFault> {
    match name {
        "" => return Err(PathFault::Empty),
        "." | ".." => return Err(PathFault::Dots),
        _ => {}
    }
    if name.len() > MAX_COMPONENT_BYTES {
        return Err(PathFault::LongComponent);
    }
    if name.contains('/') {
        return Err(PathFault::Many);
    }
    if let Some(character) = name.chars().find(|character| is_refused(*character)) {
        return Err(PathFault::Character(character));
    }
    if name.ends_with(['.', ' ']) {
        return Err(PathFault::Trailing);
    }
    if is_reserved(name) { Err(PathFault::Reserved) } else { Ok(()) }
}

/// Characters with a meaning to some file system, control characters, and format characters that
/// reorder, end or hide what is shown. Joiners, direction marks and variation selectors stay: names
/// in Persian, Arabic, Hebrew and with emoji need them.
fn is_refused(character: char) -> bool {
    match character {
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\\' | ':' => true,
        ' '..='\x7e' => false,
        '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{fffe}' | '\u{ffff}' | '\u{e0000}' | '\u{e0001}' => true,
        _ => false,
    }
}

/// Device names of Windows, with any extension: <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].into_iter().any(is) {
        return true;
    }
    let numbered = |device: &str| {
        let digit = stem.get(..3).filter(|head| head.eq_ignore_ascii_case(device));
        let mut rest = digit.and_then(|_| stem.get(3..)).unwrap_or("").chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    numbered("COM") || numbered("LPT")
}

/// Equal for names that may be one and the same on file systems that ignore case or normalise.
///
/// Case-folded character by character, composed (NFC), and without the characters that some file
/// systems ignore. Not a name: only for comparing.
#[must_use]
pub fn collision_key(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    const NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfd();
    const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
    // Upper case first: it joins what only differs in lower case, such as `ς` and `σ`.
    let folded = |text: &str| -> String {
        let shown = text.chars().filter(|character| !is_ignorable(*character));
        shown.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    };
    // Folding may leave what decomposes further, and decomposing what folds further.
    let once = folded(&NFD.normalize(name));
    NFC.normalize(&folded(&NFD.normalize(&once))).into_owned()
}

/// Allowed in names, but not compared by every file system.
fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{200c}'..='\u{200f}' | '\u{61c}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests;
