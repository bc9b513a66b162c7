//! Functions for AWS Lambda: known by the name of what they are built on, or by what an image brings.

use autostack_engine::ImageFacts;

/// The program that starts the runtime in every image of AWS.
const ENTRYPOINT: &str = "/lambda-entrypoint.sh";
/// The variable that names the folder of the function in every image of AWS.
const TASK_ROOT: &str = "LAMBDA_TASK_ROOT=";

/// Whether an image is a function for AWS Lambda, which is invoked and serves no HTTP by itself: it says so by
/// its entry point or its environment, which it has from the base images of AWS.
pub fn is_lambda(image: &ImageFacts) -> bool {
    let starts_runtime = image.entrypoint.first().is_some_and(|program| program == ENTRYPOINT);
    starts_runtime || image.env.iter().any(|variable| variable.starts_with(TASK_ROOT))
}

/// Whether a name is of a base image for functions: `public.ecr.aws/lambda/…`, `amazon/aws-lambda-…`.
pub(crate) fn is_lambda_name(image: &str) -> bool {
    let on_docker_hub = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"];
    let name = on_docker_hub.iter().find_map(|registry| image.strip_prefix(registry)).unwrap_or(image);
    name.starts_with("public.ecr.aws/lambda/") || name.starts_with("amazon/aws-lambda-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_base_images_are_known() {
        for name in [
            "public.ecr.aws/lambda/nodejs:22",
            "public.ecr.aws/lambda/provided@sha256:00",
            "amazon/aws-lambda-python:3.13",
            "docker.io/amazon/aws-lambda-java",
        ] {
            assert!(is_lambda_name(name), "{name}");
        }
        for name in
            ["node:24", "example.com/amazon/aws-lambda-x", "public.ecr.aws/docker/library/node", "lambda"]
        {
            assert!(!is_lambda_name(name), "{name}");
        }
    }
}
