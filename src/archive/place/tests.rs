use super::*;
use crate::{archive::samples, node::ArchiveQuery};

/// More than one of sled's segments of 512 KiB.
const JOBS: usize = 300;

fn opened(directory: &Path) -> (Store, Totals) {
    open(directory, &Arc::default()).unwrap()
}

fn fill(directory: &Path) {
    let (store, mut totals) = opened(directory);
    for job in samples::departed_with(JOBS, 3_000) {
        store.put(job.retained_until().unwrap(), job.view(), &mut totals).unwrap();
    }
    store.flush().unwrap();
}

fn is_set_aside(directory: &Path) -> bool {
    directory.with_extension("damaged").exists()
}

/// Opens it, and reads it all: it works, whatever it still has.
fn works(directory: &Path) -> usize {
    let (store, mut totals) = opened(directory);
    let all = ArchiveQuery { limit: 1000, bytes_max: 8 << 20, ..ArchiveQuery::default() };
    let found = store.history(&all).unwrap().len();
    let job = samples::departed(1).remove(0);
    store.put(job.retained_until().unwrap(), job.view(), &mut totals).unwrap();
    assert_eq!(store.find(&samples::id_of("job-0")).unwrap(), Some(job.view()));
    found
}

#[test]
fn a_directory_that_is_not_there_is_begun_and_one_that_is_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("archive");
    fill(&directory);
    assert_eq!(works(&directory), JOBS);
    assert!(!is_set_aside(&directory) && !directory.join(OPENING).exists());
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(works(&directory), 0);
}

#[test]
fn a_file_in_place_of_the_directory_is_set_aside_in_place_of_an_older_one() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("archive");
    fs::create_dir_all(directory.with_extension("damaged").join("older")).unwrap();
    fs::write(&directory, "not a directory").unwrap();
    assert_eq!(works(&directory), 0);
    let aside = fs::read_to_string(directory.with_extension("damaged")).unwrap();
    assert_eq!(aside, "not a directory");
}

#[test]
fn what_was_given_up_or_could_not_be_opened_twice_is_not_opened_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("archive");
    fill(&directory);
    fs::write(directory.join(OPENING), ".").unwrap();
    assert_eq!(works(&directory), JOBS, "a kill while it was opened is no reason");
    fs::write(directory.join(OPENING), "..").unwrap();
    assert_eq!(works(&directory), 0);
    condemn(&directory, "a page is gone");
    let reason = suspicion(&directory).unwrap();
    assert_eq!(reason, "it was given up: a page is gone");
    assert_eq!(works(&directory), 0);
}

#[test]
fn openings_that_a_stopping_process_cut_short_count_for_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("archive");
    fill(&directory);
    for _ in 0..5 {
        note(&directory.join(OPENING)).unwrap();
        excuse(&directory);
    }
    assert_eq!(suspicion(&directory), None);
    assert_eq!(works(&directory), JOBS);
    excuse(&directory);
    assert!(!directory.join(OPENING).exists(), "nothing is noted of one that was done");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_and_left_as_it_is() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("archive");
    let (store, _) = opened(&directory);
    let second = open(&directory, &Arc::default()).unwrap_err();
    assert!(matches!(second, Failure::Refused(_)), "{second}");
    assert!(!is_set_aside(&directory));
    drop(store);
}

/// Changes to the file of sled's log.
fn damage(file: &Path, how: &str, at: u64) {
    let mut bytes = fs::read(file).unwrap();
    let length = bytes.len() as u64;
    let at = usize::try_from(at % length).unwrap();
    match how {
        "cut" => bytes.truncate(at),
        "flip" => bytes[at] ^= 0x10,
        "noise" => {
            let mut state = at as u64 | 1;
            for byte in bytes.iter_mut().skip(at).take(4096) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = state.to_le_bytes()[7];
            }
        }
        _ => bytes.clear(),
    }
    fs::write(file, bytes).unwrap();
}

// Situation: sled's files are damaged while nobody has them open. Claim: whatever the damage, the
// archive opens (with what is left, or anew) and then takes and finds a job, or says why it cannot;
// it never panics. The next process can open it in any case.
#[test]
fn damaged_files_are_opened_or_set_aside_and_the_archive_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let good = parent.path().join("good");
    fill(&good);
    for (number, how) in ["cut", "flip", "noise", "empty"].iter().cycle().take(48).enumerate() {
        let directory = parent.path().join(format!("archive-{number}"));
        copy(&good, &directory);
        let files = files_of(&directory);
        let file = &files[number % files.len()];
        damage(file, how, (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (store, mut totals) = opened(&directory);
        let all = ArchiveQuery { limit: 1000, bytes_max: 8 << 20, ..ArchiveQuery::default() };
        let job = samples::departed(1).remove(0);
        let used = store
            .history(&all)
            .and_then(|_| store.put(job.retained_until().unwrap(), job.view(), &mut totals));
        drop(store);
        if let Err(failure) = used {
            condemn(&directory, &failure.to_string());
        }
        // A panic may leave sled's lock behind; the next process does not see it.
        let next = parent.path().join(format!("next-{number}"));
        copy(&directory, &next);
        works(&next);
    }
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs")).unwrap();
    for file in files_of(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}
