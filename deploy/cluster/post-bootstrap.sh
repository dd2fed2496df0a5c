#!/bin/sh
# Makes the loggers' role and their database, once, on the first primary; $1 is how it is reached.
set -eu
psql --quiet --set ON_ERROR_STOP=1 "$1" <<'SQL'
\getenv password FOURWIRE_PASSWORD
CREATE ROLE fourwire LOGIN PASSWORD :'password';
CREATE DATABASE fourwire OWNER fourwire ENCODING 'UTF8' TEMPLATE template0;
SQL
