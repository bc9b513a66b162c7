//! Pages of deployments: each once, newest first, however they lie in the apps.

use autostack_domain::{DeploymentState, UnixMillis};

use crate::{
    DeploymentMark, DeploymentQuery, Store,
    tests::{Home, app, app_name, deployment, deployment_id},
};

/// Numbers of the deployments of a walk in pages of this size.
fn walked(store: &Store, query: &DeploymentQuery) -> Vec<i64> {
    let mut query = query.clone();
    let mut seen = Vec::new();
    loop {
        let page = store.deployment_page(&query).unwrap();
        assert!(page.deployments.len() <= query.limit);
        seen.extend(page.deployments.iter().map(|deployment| deployment.created_at.0));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return seen,
        }
    }
}

#[test]
fn pages_hold_each_deployment_once_and_the_newest_first() {
    let home = Home::new();
    let store = home.open().unwrap();
    for name in ["blog", "shop", "wiki"] {
        store.create_app(&app(name)).unwrap();
    }
    for number in 1..=40 {
        let name = ["blog", "shop", "shop", "wiki"][number as usize % 4];
        store.create_deployment(&deployment(name, number)).unwrap();
        if number % 5 == 0 {
            let fail =
                |deployment: &mut autostack_domain::Deployment| deployment.state = DeploymentState::Failed;
            store.update_deployment(&deployment_id(number), fail).unwrap();
        }
    }
    let of = |apps: &[&str], limit: usize| DeploymentQuery {
        apps: apps.iter().map(|name| app_name(name)).collect(),
        limit,
        ..DeploymentQuery::default()
    };
    let all: Vec<i64> = (1..=40).rev().collect();
    for limit in [1, 2, 7, 39, 40, 41] {
        assert_eq!(walked(&store, &of(&["blog", "shop", "wiki"], limit)), all, "in pages of {limit}");
    }
    let of_shop: Vec<i64> = all.iter().copied().filter(|number| matches!(number % 4, 1 | 2)).collect();
    assert_eq!(walked(&store, &of(&["shop"], 3)), of_shop);
    let failed =
        DeploymentQuery { states: vec![DeploymentState::Failed], ..of(&["blog", "shop", "wiki"], 3) };
    assert_eq!(walked(&store, &failed), [40, 35, 30, 25, 20, 15, 10, 5]);
    assert!(walked(&store, &of(&[], 3)).is_empty());

    // The one that a page ended with may be gone by the time of the next.
    store.remove_deployment(&deployment_id(20)).unwrap();
    let before = DeploymentMark { created_at: UnixMillis(20), id: deployment_id(20) };
    let rest = DeploymentQuery { before: Some(before), ..of(&["blog", "shop", "wiki"], 50) };
    assert_eq!(walked(&store, &rest), (1..20).rev().collect::<Vec<i64>>());
    store.remove_deployment(&deployment_id(21)).unwrap_err();
}
