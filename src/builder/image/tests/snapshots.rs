//! The Dockerfile of each sample app, compared with what is kept beside its plan.

use std::{collections::BTreeMap, path::Path};

use autostack_base::settings::Settings;

use crate::{
    Toolchains,
    image::{
        base::Bases,
        config::Words,
        generate::{Generator, Mounts},
    },
    scenarios::{
        fixtures,
        snapshots::{beside, folders},
    },
};

#[test]
fn each_sample_app_gets_the_dockerfile_beside_it() {
    let images = Settings::from_text("test", "").unwrap().images;
    for app in folders("apps") {
        let dir = fixtures("apps").join(&app);
        let plan = crate::plan(&dir, &Toolchains::of_an_image())
            .unwrap_or_else(|failure| panic!("{app}: {failure:#?}"));
        if plan.dockerfile.is_some() {
            continue;
        }
        let bases = Bases::choose(&plan, &images).unwrap();
        let words = Words { install: "INSTALL".into(), whole: "CONFIG".into() };
        let generator = Generator {
            plan: &plan,
            bases: &bases,
            base_mark: "0123456789ab",
            mark: &format!("autostack-MARK-{app}"),
            labels: &BTreeMap::new(),
            mounts: Some(Mounts { config: Some(words), has_certificates: true }),
            has: &|path| Path::new(&dir).join(path).exists(),
        };
        beside("apps").bind(|| insta::assert_snapshot!(format!("{app}.dockerfile"), generator.text()));
    }
}
