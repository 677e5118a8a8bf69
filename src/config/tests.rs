use super::*;

fn resolve(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let mut layers = Layers::default();
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    layers.add_environment(owned).map_err(|error| error.to_string())?;
    Settings::resolve(&layers).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_valid() {
    let settings = Settings::default();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8005");
    assert_eq!(settings.store, StoreTarget::Embedded);
    assert_eq!(settings.effective.len(), keys::KEYS.len());
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\n[spool]\ndurability = \"os\"\n[breaker]\nfailures = 7\n").unwrap();
    let mut layers = Layers::default();
    layers.add_file(&file).unwrap();
    let variables = [("SLUICE_BREAKER__FAILURES", "8"), ("SLUICE_LISTEN", "127.0.0.1:2"), ("SLUICE_SPOL", "x")];
    let unknown = layers.add_environment(variables.map(|(n, v)| (n.to_owned(), v.to_owned())).into_iter()).unwrap();
    layers.add_flag(&keys::KEYS[0], "127.0.0.1:3".to_owned());
    let settings = Settings::resolve(&layers).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.breaker.failures, 8);
    assert_eq!(settings.spool.durability, Durability::Os);
    assert_eq!(unknown, ["SLUICE_SPOL"]);
}

#[test]
fn a_bad_value_is_one_line_with_key_value_and_what_is_allowed() {
    for (variable, value, message) in [
        (
            "SLUICE_LISTEN",
            "here",
            "listen = \"here\": use an address and port; port 0 takes a free one (environment SLUICE_LISTEN)",
        ),
        (
            "SLUICE_SPOOL__DURABILITY",
            "fast",
            "spool.durability = \"fast\": use fsync or os (environment SLUICE_SPOOL__DURABILITY)",
        ),
        (
            "SLUICE_BREAKER__BACKOFF_MIN",
            "0.1s",
            "breaker.backoff_min = \"0.1s\": use a period of at least 500ms (environment SLUICE_BREAKER__BACKOFF_MIN)",
        ),
        (
            "SLUICE_STORE",
            "postgres://me:secret@db/x",
            "store = \"postgres://***@db/x\": use embedded, or a mongodb:// or mongodb+srv:// URI (environment SLUICE_STORE)",
        ),
        (
            "SLUICE_LIMITS__INFLIGHT_BYTES",
            "2MiB",
            "limits.inflight_bytes = \"2MiB\": use at least twice limits.body_bytes (environment SLUICE_LIMITS__INFLIGHT_BYTES)",
        ),
    ] {
        assert_eq!(resolve(&[(variable, value)]).unwrap_err(), message);
    }
}

#[test]
fn an_unknown_key_in_the_file_names_the_one_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, "[spool]\ndurabilty = \"os\"\n").unwrap();
    let error = Layers::default().add_file(&file).unwrap_err().to_string();
    assert!(error.starts_with("spool.durabilty: unknown key"), "{error}");
    assert!(error.ends_with("did you mean spool.durability?"), "{error}");
}

#[test]
fn variables_that_kubernetes_injects_are_ignored() {
    let mut layers = Layers::default();
    let injected = [("SLUICE_PORT", "tcp://10.0.0.1:8005"), ("SLUICE_SERVICE_HOST", "10.0.0.1")];
    let unknown = layers.add_environment(injected.map(|(n, v)| (n.to_owned(), v.to_owned())).into_iter()).unwrap();
    assert!(unknown.is_empty());
}

#[test]
fn variables_that_the_command_line_reads_itself_are_known() {
    let mut layers = Layers::default();
    let given = ["SLUICE_URL", "SLUICE_CONFIG", "SLUICE_URLS"].map(|name| (name.to_owned(), "x".to_owned()));
    assert_eq!(layers.add_environment(given.into_iter()).unwrap(), ["SLUICE_URLS"]);
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("uri");
    std::fs::write(&file, "mongodb://me:p@ss/word@db:27017/logs?tlsCertificateKeyFilePassword=x&w=majority\n").unwrap();
    let settings = resolve(&[("SLUICE_STORE_FILE", file.to_str().unwrap())]).unwrap();
    let shown = "mongodb://***@db:27017/logs?tlsCertificateKeyFilePassword=***&w=majority";
    assert_eq!(settings.store.to_string(), shown);
    assert!(settings.effective.contains(&("store", shown.to_owned())));
    assert!(!format!("{settings:?}").contains("ss/word"));
    for unclear in ["mongodb://me:p?ss@db/logs", "mongodb://db/logs?tlsCertificateKeyFilePassword=p@ss"] {
        assert_eq!(resolve(&[("SLUICE_STORE", unclear)]).unwrap().store.to_string(), "mongodb://***");
    }
}

#[test]
fn sizes_and_periods_take_units() {
    for (text, bytes) in [("5", Some(5)), ("1KiB", Some(1024)), ("1.5 mib", Some(1_572_864)), ("1GB", None), ("", None)]
    {
        assert_eq!(text.parse::<ByteSize>().ok().map(|size| size.0), bytes, "{text}");
    }
    for (text, millis) in [("5", Some(5000)), ("250ms", Some(250)), ("1.5h", Some(5_400_000)), ("-1s", None)] {
        assert_eq!(text.parse::<Period>().ok().map(|period| period.0.as_millis()), millis, "{text}");
    }
}

#[test]
fn the_shown_configuration_is_a_file_that_gives_it() {
    let shown = Settings::default().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, &shown).unwrap();
    let mut layers = Layers::default();
    layers.add_file(&file).unwrap();
    assert_eq!(Settings::resolve(&layers).unwrap().to_string(), shown);
}
