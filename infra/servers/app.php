<?php
// Writes down what PHP hands to an application of a request.
$seen = [
    "target" => $_SERVER["REQUEST_URI"],
    "headers" => getallheaders(),
    "sha256" => hash("sha256", file_get_contents("php://input")),
];
file_put_contents(getenv("SEEN"), json_encode($seen) . "\n", FILE_APPEND | LOCK_EX);
