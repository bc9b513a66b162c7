<?php
// Files as they are, everything else to the front controller; nothing that begins with a dot.
$root = $_SERVER["DOCUMENT_ROOT"];
$path = rawurldecode((string) parse_url($_SERVER["REQUEST_URI"], PHP_URL_PATH));
if (preg_match("~/\.(?!well-known/)~", $path)) {
    http_response_code(404);
    echo "Not found\n";
    return true;
}
$file = $root . $path;
if (is_file($file) || (is_dir($file) && (is_file("$file/index.php") || is_file("$file/index.html")))) {
    return false;
}
$_SERVER["SCRIPT_NAME"] = "/index.php";
$_SERVER["PHP_SELF"] = "/index.php";
$_SERVER["SCRIPT_FILENAME"] = "$root/index.php";
unset($_SERVER["PATH_INFO"]);
chdir($root);
require "$root/index.php";
