//! `stage.geoip` looks addresses up in a MaxMind database.

use std::collections::BTreeMap;
use std::net::IpAddr;

use component::eval::Invalid;
use component::{ArgEnum, Arguments, Error};

use jmespath::{Expression, Variable};
use maxminddb::{Reader, geoip2};

use crate::process::extracted::Extracted;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.geoip`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Path of the database.
    pub db: String,
    /// Extracted value that holds the address.
    pub source: String,
    /// What the database holds; needed unless there are custom lookups.
    #[arg(default, code_type = "string")]
    pub db_type: DbType,
    /// Extracted values by name, each with a JMESPath expression on the record; its name where it is empty.
    pub custom_lookups: Option<BTreeMap<String, String>>,
}

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum DbType {
    /// Only what custom lookups ask for.
    #[default]
    #[arg(name = "", default)]
    Unsaid,
    /// Cities.
    City,
    /// Autonomous systems.
    Asn,
    /// Countries.
    Country,
}

/// Largest database that is read, in bytes.
const LARGEST: u64 = 1 << 30;

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.db.is_empty() {
            return Err(Invalid::field("db", "must be the path of a database"));
        }
        if self.source.is_empty() {
            return Err(Invalid::field("source", "must name an extracted value"));
        }
        if self.db_type == DbType::Unsaid && self.custom_lookups.is_none() {
            return Err(Invalid::body("needs db_type or custom_lookups"));
        }
        match self.lookups() {
            Ok(_) => Ok(()),
            Err(message) => Err(Invalid::field("custom_lookups", message)),
        }
    }

    /// Names with their compiled expressions.
    fn lookups(&self) -> Result<Vec<(String, Expression<'static>)>, String> {
        let compile = |(name, expression): (&String, &String)| {
            let expression = if expression.is_empty() { name } else { expression };
            let compiled = jmespath::compile(expression).map_err(|e| format!("{name:?}: {e}"))?;
            Ok((name.clone(), compiled))
        };
        self.custom_lookups.iter().flatten().map(compile).collect()
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let lookups = self.lookups().map_err(|message| Error::argument("custom_lookups", message))?;
        Ok(Node::map(GeoIp { args: self.clone(), lookups, database: None }))
    }
}

struct GeoIp {
    args: Args,
    lookups: Vec<(String, Expression<'static>)>,
    /// Opened before the first record.
    database: Option<Reader<Vec<u8>>>,
}

impl MapStage for GeoIp {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(database) = &self.database else { return Flow::Next };
        // As Go's net.ParseIP.
        let address = record.extracted.text(&self.args.source).and_then(|text| text.parse::<IpAddr>().ok());
        if let Some(address) = address
            && let Err(error) = self.look_up(database, address, &mut record.extracted)
        {
            tracing::debug!(%address, %error, "stage.geoip: the database has no readable record");
        }
        Flow::Next
    }

    fn open(&mut self) -> Result<(), Error> {
        let path = &self.args.db;
        let refuse = |why: String| Error::argument("db", format!("{path}: {why}"));
        let size = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.len();
        if size > LARGEST {
            return Err(refuse(format!("the database is larger than {LARGEST} bytes")));
        }
        self.database = Some(Reader::open_readfile(path).map_err(|e| refuse(e.to_string()))?);
        Ok(())
    }
}

impl GeoIp {
    fn look_up(
        &self,
        database: &Reader<Vec<u8>>,
        address: IpAddr,
        extracted: &mut Extracted<'_>,
    ) -> Result<(), maxminddb::MaxMindDbError> {
        let found = database.lookup(address)?;
        match self.args.db_type {
            DbType::City => {
                if let Some(city) = found.decode::<geoip2::City<'_>>()? {
                    set_city(&city, extracted);
                }
            }
            DbType::Asn => {
                if let Some(asn) = found.decode::<geoip2::Asn<'_>>()? {
                    if let Some(number) = asn.autonomous_system_number.filter(|n| *n != 0) {
                        extracted.set_number("geoip_autonomous_system_number", &number.to_string());
                    }
                    let organization = asn.autonomous_system_organization;
                    set(extracted, "geoip_autonomous_system_organization", organization);
                }
            }
            DbType::Country => {
                if let Some(country) = found.decode::<geoip2::Country<'_>>()? {
                    set(extracted, "geoip_country_name", country.country.names.english);
                    set(extracted, "geoip_country_code", country.country.iso_code);
                    set(extracted, "geoip_continent_name", country.continent.names.english);
                    set(extracted, "geoip_continent_code", country.continent.code);
                }
            }
            DbType::Unsaid => {}
        }
        if self.lookups.is_empty() {
            return Ok(());
        }
        let Some(record) = found.decode::<serde_json::Value>()? else { return Ok(()) };
        let Ok(record) = Variable::try_from(record) else { return Ok(()) };
        let record = jmespath::Rcvar::new(record);
        for (name, expression) in &self.lookups {
            match expression.search(record.clone()) {
                Ok(result) => set_variable(extracted, name, &result),
                Err(error) => tracing::debug!(%name, %error, "stage.geoip: the expression fails"),
            }
        }
        Ok(())
    }
}

fn set(extracted: &mut Extracted<'_>, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        extracted.set(name, value);
    }
}

fn set_city(city: &geoip2::City<'_>, extracted: &mut Extracted<'_>) {
    set(extracted, "geoip_city_name", city.city.names.english);
    set(extracted, "geoip_country_name", city.country.names.english);
    set(extracted, "geoip_country_code", city.country.iso_code);
    set(extracted, "geoip_continent_name", city.continent.names.english);
    set(extracted, "geoip_continent_code", city.continent.code);
    set(extracted, "geoip_postal_code", city.postal.code);
    set(extracted, "geoip_timezone", city.location.time_zone);
    let (latitude, longitude) = (city.location.latitude, city.location.longitude);
    let (latitude, longitude) = (latitude.unwrap_or_default(), longitude.unwrap_or_default());
    if latitude != 0.0 || longitude != 0.0 {
        extracted.set_float("geoip_location_latitude", latitude);
        extracted.set_float("geoip_location_longitude", longitude);
    }
    // The last one is the most specific.
    if let Some(subdivision) = city.subdivisions.last() {
        set(extracted, "geoip_subdivision_name", subdivision.names.english);
        set(extracted, "geoip_subdivision_code", subdivision.iso_code);
    }
}

fn set_variable(extracted: &mut Extracted<'_>, name: &str, value: &Variable) {
    match value {
        Variable::Null | Variable::Expref(_) => {}
        Variable::String(text) => extracted.set(name, text),
        Variable::Bool(truth) => extracted.set_bool(name, *truth),
        Variable::Number(number) => extracted.set_number(name, &number.to_string()),
        nested @ (Variable::Array(_) | Variable::Object(_)) => extracted.set(name, &nested.to_string()),
    }
}

#[cfg(test)]
mod tests;
