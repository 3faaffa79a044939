/**
 * The catalog's tables. It is a cache: every row can be made again from the archive, so a catalog of another version,
 * or one that SQLite calls damaged, is thrown away and built anew.
 */

/** Raise whenever tables, or what is counted into them, change. */
export const CATALOG_VERSION = 4

/** Row of `session` under which exchanges without a session are counted. */
export const UNGROUPED_ROW = 1

export const SCHEMA = `
  create table meta (key text primary key, value text not null) without rowid;
  -- bytes are real: a hostile archive can claim more than an integer of JavaScript holds
  -- progress: bytes below next_offset are taken in, and skip payload bytes of the member that starts there
  create table object (id integer primary key, name text not null unique, size integer not null, modified real not null,
    next_offset integer not null, skip integer not null, tail text not null);
  create table finding (object integer not null, at integer not null, reason text not null, detail text not null, claims text);
  create index finding_object on finding (object, at);
  create table writer (id integer primary key, name text not null unique, frames integer not null, last_time text not null,
    stopped integer not null, over integer not null);
  create table covered (writer integer not null, first integer not null, last integer not null, primary key (writer, first)) without rowid;
  create table place (id integer primary key, object integer not null, at integer not null, upto integer not null, plain integer not null,
    writer integer not null, first integer not null, last integer not null, sorted integer not null, unique (object, at, writer));
  create index place_writer on place (writer, first);
  create table place_session (session integer not null, place integer not null, primary key (session, place)) without rowid;
  create table session (id integer primary key, name text not null unique, basis text, server text, workload text, pod text,
    client text, identity text, started text not null, last text not null, exchanges integer not null, calls integer not null,
    errors integer not null, denials integer not null, frames integer not null, bytes real not null,
    -- the frame that basis and server, client, identity come from: the earliest that says so
    start_at text not null default '9999', client_at text not null default '9999', identity_at text not null default '9999');
  create index session_started on session (started, name);
  create index session_last on session (last);
  create table session_writer (session integer not null, writer integer not null, first integer not null, last integer not null,
    last_time text not null, session_end integer not null,
    primary key (session, writer)) without rowid;
  create index session_writer_writer on session_writer (writer);
  create table session_tool (session integer not null, tool text not null, primary key (session, tool)) without rowid;
  create index session_tool_tool on session_tool (tool, session);
  -- early_first to early_last: where the frames stand that name no session, in an exchange that a later frame gave one
  create table exchange (writer integer not null, number integer not null, session integer not null, frames integer not null,
    calls integer not null, errors integer not null, failed integer not null, denials integer not null, bytes real not null,
    started text not null, last text not null, first integer not null, newest integer not null, ended integer not null,
    tools text, early_first integer, early_last integer, primary key (writer, number, session)) without rowid;
  create index exchange_early on exchange (session) where early_first is not null;
  create index exchange_ungrouped on exchange (started) where session = ${UNGROUPED_ROW};
  -- writer: in whose recording something is missing; by: whose frame says so
  create table gap (writer text not null, by_writer text not null, seq integer not null, session text, time text not null,
    from_seq integer, to_seq integer, from_time text, to_time text, reason text not null, primary key (by_writer, seq)) without rowid;
  create index gap_writer on gap (writer);
  create index gap_session on gap (session) where session is not null;
  insert into meta values ('version', '${CATALOG_VERSION}');
`
