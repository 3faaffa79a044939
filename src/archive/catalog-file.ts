/** Opens the catalog's database: beside the archive where that is allowed, else in a private temporary one that SQLite removes. */

import { lstat, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { CATALOG_VERSION, SCHEMA } from './catalog-schema.ts'

const BUSY_MS = 10_000
const BUSY = 5
const READ_ONLY = 8
const IO_ERROR = 10
const CORRUPT = 11
const FULL = 13
const CANNOT_OPEN = 14
const NOT_A_DATABASE = 26

/** @param folder the archive's folder; undefined for a private catalog */
export async function openCatalogFile(folder: string | undefined): Promise<DatabaseSync> {
  if (folder === undefined) return openPrivate()
  const path = join(folder, '.catalog', `catalog-${CATALOG_VERSION}.sqlite`)
  for (let attempt = 0; attempt < 2; attempt++) {
    if (!(await mayUse(folder, path))) return openPrivate()
    try {
      return openShared(path)
    } catch (cause) {
      if (!isDamage(cause)) return openPrivate()
      await discardCatalog(folder)
    }
  }
  return openPrivate()
}

/** Removes the catalog's files. Another process that has them open goes on with what it has. */
export async function discardCatalog(folder: string): Promise<void> {
  const path = join(folder, '.catalog', `catalog-${CATALOG_VERSION}.sqlite`)
  for (const suffix of ['', '-wal', '-shm']) await rm(path + suffix, { force: true }).catch(() => undefined)
}

/** Whether SQLite says that the file is damaged, or that our tables are not in it. */
export function isDamage(error: unknown): boolean {
  if (error instanceof CatalogVersionError) return true
  const code = sqliteCode(error)
  return code === CORRUPT || code === NOT_A_DATABASE || (code !== undefined && error instanceof Error && /no such (table|column)/.test(error.message))
}

/** Whether SQLite says that it cannot write where the file is: no room, no rights, a disk that fails, or somebody else writes for long. */
export function isUnwritable(error: unknown): boolean {
  return [BUSY, READ_ONLY, IO_ERROR, FULL, CANNOT_OPEN].some(code => code === sqliteCode(error))
}

/** The primary result code (sqlite.org/rescode.html); undefined when it is no error of SQLite. */
function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

class CatalogVersionError extends Error {}

async function mayUse(folder: string, path: string): Promise<boolean> {
  try {
    // Names and identities lie in it: for whoever made it, whatever the umask.
    await mkdir(join(folder, '.catalog'), { recursive: true, mode: 0o700 })
    if (!(await lstat(join(folder, '.catalog'))).isDirectory()) return false
    const file = await lstat(path).catch(() => undefined)
    // A link here could make us write somewhere else.
    return file === undefined || file.isFile()
  } catch {
    return false
  }
}

function openPrivate(): DatabaseSync {
  // An empty name is SQLite's temporary database: it stays in memory while it is small, and leaves nothing behind.
  const database = new DatabaseSync('')
  database.exec('pragma journal_mode = off; pragma synchronous = off')
  database.exec(SCHEMA)
  return database
}

function openShared(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: BUSY_MS })
  try {
    // A cache need not survive a power cut, only be whole: WAL with normal syncing is.
    database.exec('pragma journal_mode = wal; pragma synchronous = normal')
    database.exec('begin immediate')
    const tables = database.prepare("select count(*) n from sqlite_master where type = 'table'").get()
    if (tables?.['n'] === 0) database.exec(SCHEMA)
    const version = database.prepare("select value from meta where key = 'version'").get()
    if (version?.['value'] !== String(CATALOG_VERSION)) throw new CatalogVersionError('another version')
    database.exec('commit')
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}
