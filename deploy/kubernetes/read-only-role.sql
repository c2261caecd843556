-- A role that can read bloodsearch's studies and change nothing, for the dashboard. Run it as the database's owner:
--   psql DATABASE -v password=PASSWORD -f read-only-role.sql
CREATE ROLE bloodsearch_reader LOGIN PASSWORD :'password';
ALTER ROLE bloodsearch_reader SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA public TO bloodsearch_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bloodsearch_reader;
-- tables that a later version adds
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO bloodsearch_reader;
