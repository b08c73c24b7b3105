//! The releases of Exchange by build: a flat table, first builds in ascending order.
//!
//! Source: "Exchange Server build numbers and release dates" (Microsoft), and for what is newer than that page's
//! public history the table of builds in Microsoft's CSS-Exchange scripts. Security updates are not in it: they
//! raise the last number of a release's build, and which of them mends what is the feed's to say.

use std::fmt;

use super::Build;

/// A product, as Microsoft names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// 15.0
    Exchange2013,
    /// 15.1
    Exchange2016,
    /// 15.2 below 2562
    Exchange2019,
    /// Subscription Edition, 15.2 from 2562 on: the numbers of 2019 go on.
    ExchangeSe,
}

impl Product {
    /// The product that a build belongs to, listed or not.
    pub fn of(build: Build) -> Option<Product> {
        match build.branch() {
            (15, 0, _) => Some(Product::Exchange2013),
            (15, 1, _) => Some(Product::Exchange2016),
            (15, 2, number) if number < 2562 => Some(Product::Exchange2019),
            (15, 2, _) => Some(Product::ExchangeSe),
            _ => None,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::Exchange2013 => "Exchange Server 2013",
            Product::Exchange2016 => "Exchange Server 2016",
            Product::Exchange2019 => "Exchange Server 2019",
            Product::ExchangeSe => "Exchange Server SE",
        })
    }
}

/// A release that setup installs: the product itself or a cumulative update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The product.
    pub product: Product,
    /// `RTM`, `CU11`, `SP1` (which is CU4 of 2013), `Preview`.
    pub name: &'static str,
    /// The build without security updates. The release's range goes from here up to the next number of its kind.
    pub first: Build,
}

/// The release of a build: that of its branch, at or below it.
pub fn release(build: Build) -> Option<&'static Release> {
    BUILDS.iter().rfind(|release| release.first.branch() == build.branch() && release.first <= build)
}

const fn row(product: Product, name: &'static str, minor: u32, number: u32, revision: u32) -> Release {
    Release { product, name, first: Build::new(15, minor, number, revision) }
}

/// Every release, by build.
pub static BUILDS: &[Release] = &[
    row(Product::Exchange2013, "RTM", 0, 516, 32),
    row(Product::Exchange2013, "CU1", 0, 620, 29),
    row(Product::Exchange2013, "CU2", 0, 712, 24),
    row(Product::Exchange2013, "CU3", 0, 775, 38),
    row(Product::Exchange2013, "SP1", 0, 847, 32),
    row(Product::Exchange2013, "CU5", 0, 913, 22),
    row(Product::Exchange2013, "CU6", 0, 995, 29),
    row(Product::Exchange2013, "CU7", 0, 1044, 25),
    row(Product::Exchange2013, "CU8", 0, 1076, 9),
    row(Product::Exchange2013, "CU9", 0, 1104, 5),
    row(Product::Exchange2013, "CU10", 0, 1130, 7),
    row(Product::Exchange2013, "CU11", 0, 1156, 6),
    row(Product::Exchange2013, "CU12", 0, 1178, 4),
    row(Product::Exchange2013, "CU13", 0, 1210, 3),
    row(Product::Exchange2013, "CU14", 0, 1236, 3),
    row(Product::Exchange2013, "CU15", 0, 1263, 5),
    row(Product::Exchange2013, "CU16", 0, 1293, 2),
    row(Product::Exchange2013, "CU17", 0, 1320, 4),
    row(Product::Exchange2013, "CU18", 0, 1347, 2),
    row(Product::Exchange2013, "CU19", 0, 1365, 1),
    row(Product::Exchange2013, "CU20", 0, 1367, 3),
    row(Product::Exchange2013, "CU21", 0, 1395, 4),
    row(Product::Exchange2013, "CU22", 0, 1473, 3),
    row(Product::Exchange2013, "CU23", 0, 1497, 2),
    row(Product::Exchange2016, "Preview", 1, 225, 16),
    row(Product::Exchange2016, "RTM", 1, 225, 42),
    row(Product::Exchange2016, "CU1", 1, 396, 30),
    row(Product::Exchange2016, "CU2", 1, 466, 34),
    row(Product::Exchange2016, "CU3", 1, 544, 27),
    row(Product::Exchange2016, "CU4", 1, 669, 32),
    row(Product::Exchange2016, "CU5", 1, 845, 34),
    row(Product::Exchange2016, "CU6", 1, 1034, 26),
    row(Product::Exchange2016, "CU7", 1, 1261, 35),
    row(Product::Exchange2016, "CU8", 1, 1415, 2),
    row(Product::Exchange2016, "CU9", 1, 1466, 3),
    row(Product::Exchange2016, "CU10", 1, 1531, 3),
    row(Product::Exchange2016, "CU11", 1, 1591, 10),
    row(Product::Exchange2016, "CU12", 1, 1713, 5),
    row(Product::Exchange2016, "CU13", 1, 1779, 2),
    row(Product::Exchange2016, "CU14", 1, 1847, 3),
    row(Product::Exchange2016, "CU15", 1, 1913, 5),
    row(Product::Exchange2016, "CU16", 1, 1979, 3),
    row(Product::Exchange2016, "CU17", 1, 2044, 4),
    row(Product::Exchange2016, "CU18", 1, 2106, 2),
    row(Product::Exchange2016, "CU19", 1, 2176, 2),
    row(Product::Exchange2016, "CU20", 1, 2242, 4),
    row(Product::Exchange2016, "CU21", 1, 2308, 8),
    row(Product::Exchange2016, "CU22", 1, 2375, 7),
    row(Product::Exchange2016, "CU23", 1, 2507, 6),
    row(Product::Exchange2019, "Preview", 2, 196, 0),
    row(Product::Exchange2019, "RTM", 2, 221, 12),
    row(Product::Exchange2019, "CU1", 2, 330, 5),
    row(Product::Exchange2019, "CU2", 2, 397, 3),
    row(Product::Exchange2019, "CU3", 2, 464, 5),
    row(Product::Exchange2019, "CU4", 2, 529, 5),
    row(Product::Exchange2019, "CU5", 2, 595, 3),
    row(Product::Exchange2019, "CU6", 2, 659, 4),
    row(Product::Exchange2019, "CU7", 2, 721, 2),
    row(Product::Exchange2019, "CU8", 2, 792, 3),
    row(Product::Exchange2019, "CU9", 2, 858, 5),
    row(Product::Exchange2019, "CU10", 2, 922, 7),
    row(Product::Exchange2019, "CU11", 2, 986, 5),
    row(Product::Exchange2019, "CU12", 2, 1118, 7),
    row(Product::Exchange2019, "CU13", 2, 1258, 12),
    row(Product::Exchange2019, "CU14", 2, 1544, 4),
    row(Product::Exchange2019, "CU15", 2, 1748, 10),
    row(Product::ExchangeSe, "RTM", 2, 2562, 17),
];
