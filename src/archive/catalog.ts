/**
 * The index over an archive. Follows it: `refresh` reads what is new or has grown, and nothing else.
 * When something that was taken in is gone or was rewritten, counts cannot be taken back, so all is built anew.
 */

import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'

import { StenoError } from '../errors.ts'
import type { Archive, ArchiveObject, Finding, ObjectReader } from './archive.ts'
import { discardCatalog, isDamage, isUnwritable, openCatalogFile } from './catalog-file.ts'
import { SCHEMA } from './catalog-schema.ts'
import { numberOf, textOf } from './catalog-statements.ts'
import { CatalogWriter } from './catalog-writer.ts'
import type { BatchItem, Progress } from './catalog-writer.ts'
import { readParts } from './members.ts'
import type { Part } from './members.ts'

const BATCH_BYTES = 8 * 1024 * 1024
const BATCH_ITEMS = 200
const TAIL_BYTES = 256
/** Where listing is dear, all is listed this often: what was put among old objects, or taken away, shows then. */
const LIST_ALL_MS = 24 * 3_600_000

/** The object is not what was taken in before. */
class RewrittenError extends Error {}

export class Catalog {
  readonly #archive: Archive
  /** Where the catalog may lie; undefined when it is private. */
  #folder: string | undefined
  readonly #now: () => number
  #database: DatabaseSync
  #writer: CatalogWriter
  #running: Promise<void> | undefined

  /** @param now ms since epoch */
  static async open(archive: Archive, folder: string | undefined, now: () => number): Promise<Catalog> {
    return new Catalog(archive, folder, { database: await openCatalogFile(folder), now })
  }

  private constructor(archive: Archive, folder: string | undefined, { database, now }: { readonly database: DatabaseSync; readonly now: () => number }) {
    this.#archive = archive
    this.#folder = folder
    this.#now = now
    this.#database = database
    this.#writer = new CatalogWriter(database)
  }

  get archive(): Archive {
    return this.#archive
  }

  get database(): DatabaseSync {
    return this.#database
  }

  /** Takes in what is new. Calls that come while one runs share it. */
  refresh(): Promise<void> {
    this.#running ??= this.#refreshOrRebuild().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async close(): Promise<void> {
    await this.#running?.catch(() => undefined)
    this.#database.close()
  }

  async #refreshOrRebuild(): Promise<void> {
    try {
      await this.#refresh()
    } catch (cause) {
      if (cause instanceof RewrittenError) this.#empty()
      else if (isDamage(cause)) await this.#reopen()
      else if (isUnwritable(cause)) return await this.#retreat(cause)
      else throw cause
      await this.#refresh()
    }
  }

  /** Goes on with a private catalog: a cache that cannot be written is no reason to read nothing. */
  async #retreat(cause: unknown): Promise<void> {
    if (this.#folder === undefined) throw new StenoError('archive.io', `there is no room for the catalog of ${this.#archive.name}; make room where temporary files lie (TMPDIR)`, { cause })
    this.#folder = undefined
    await this.#reopen()
    await this.#refreshOrRebuild()
  }

  #empty(): void {
    this.#database.exec('begin immediate')
    const tables = this.#database.prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'").all()
    for (const table of tables) this.#database.exec(`drop table ${textOf(table, 'name') ?? ''}`)
    this.#database.exec(SCHEMA)
    this.#database.exec('commit')
    this.#writer = new CatalogWriter(this.#database)
  }

  async #reopen(): Promise<void> {
    this.#database.close()
    if (this.#folder !== undefined) await discardCatalog(this.#folder)
    this.#database = await openCatalogFile(this.#folder)
    this.#writer = new CatalogWriter(this.#database)
  }

  /** Whatever is void was written by another process meanwhile, so this comes to an end. */
  async #refresh(): Promise<void> {
    while (!(await this.#takeNew()));
  }

  /** @returns false when another process was faster with something: then what was read beside it may be in nobody's catalog */
  async #takeNew(): Promise<boolean> {
    const known = this.#database.prepare('select size, modified, next_offset, skip, tail from object where name = ?')
    const after = this.#resumeAfter()
    const total = numberOf(this.#database.prepare('select count(*) n from object where (next_offset > 0 or skip > 0) and name > ?').get(after ?? ''), 'n')
    const batch = new Batch(items => this.#writer.write(items))
    let seen = 0
    for await (const object of this.#archive.list(after)) {
      const row = known.get(object.name)
      const from: Progress = { offset: numberOf(row, 'next_offset'), skip: numberOf(row, 'skip'), tail: row === undefined ? '' : (textOf(row, 'tail') ?? '') }
      if (from.offset > 0 || from.skip > 0) seen++
      if (row !== undefined && numberOf(row, 'size') === object.size && numberOf(row, 'modified') === object.modifiedMs) continue
      await this.#takeObject(object, from, batch)
    }
    batch.write()
    if (seen < total) throw new RewrittenError()
    if (batch.lost) return false
    if (after === undefined && this.#archive.resumeAfter !== undefined) this.#database.prepare("insert or replace into meta values ('listed', ?)").run(String(this.#now()))
    return true
  }

  /** Where listing may go on; undefined when all must be listed. */
  #resumeAfter(): string | undefined {
    const { resumeAfter } = this.#archive
    if (resumeAfter === undefined) return undefined
    const listed = this.#database.prepare("select value from meta where key = 'listed'").get()
    if (listed === undefined || Math.abs(this.#now() - Number(textOf(listed, 'value'))) > LIST_ALL_MS) return undefined
    // All names: one that is not in the order of arrival may stand before others that come later.
    const ends = this.#database.prepare('select min(name) least, max(name) greatest from object').get()
    const least = ends === undefined ? undefined : textOf(ends, 'least')
    const greatest = ends === undefined ? undefined : textOf(ends, 'greatest')
    if (least === undefined || greatest === undefined || resumeAfter(least) === undefined) return undefined
    // What could not be read is tried again.
    const unread = this.#database.prepare('select min(name) name from object where size < 0').get()
    return resumeAfter((unread === undefined ? undefined : textOf(unread, 'name')) ?? greatest)
  }

  async #takeObject(object: ArchiveObject, from: Progress, batch: Batch): Promise<void> {
    const reader = await this.#open(object, from, batch)
    if (reader === undefined) return
    try {
      if (reader.size < from.offset || (from.offset > 0 && (await tailOf(reader, from.offset)) !== from.tail)) throw new RewrittenError()
      let progress = from
      let parts: (Part | Finding)[] = []
      for await (const part of readParts(object.name, reader, from.offset)) {
        if (part.kind === 'part' && part.offset === from.offset && part.payloadOffset + part.bytes.length <= from.skip) continue
        parts.push(part)
        const bytes = part.kind === 'part' ? part.bytes.length : 0
        if (!batch.fills(bytes)) continue
        const to = await progressAfter(reader, progress, parts)
        batch.add({ object, from: progress, parts, done: false, to })
        if (!batch.write()) return
        progress = to
        parts = []
      }
      batch.add({ object: { ...object, size: reader.size }, from: progress, parts, done: reader.size === object.size, to: await progressAfter(reader, progress, parts) })
      if (batch.isFull) batch.write()
    } finally {
      await reader.close()
    }
  }

  async #open(object: ArchiveObject, from: Progress, batch: Batch): Promise<ObjectReader | undefined> {
    try {
      return await this.#archive.open(object.name)
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : 'cannot be read'
      batch.add({ object, from, parts: [{ kind: 'finding', object: object.name, offset: from.offset, reason: 'unreadable', detail }], done: false, to: from })
      return undefined
    }
  }
}

async function progressAfter(reader: ObjectReader, before: Progress, parts: readonly (Part | Finding)[]): Promise<Progress> {
  let offset = before.offset
  let skip = before.skip
  for (const part of parts) {
    // A cut end is read again when the object has grown; damage is passed by what follows it.
    if (part.kind === 'finding') continue
    offset = part.last ? part.end : part.offset
    skip = part.last ? 0 : part.payloadOffset + part.bytes.length
  }
  return { offset, skip, tail: offset === before.offset ? before.tail : await tailOf(reader, offset) }
}

async function tailOf(reader: ObjectReader, offset: number): Promise<string> {
  const length = Math.min(offset, TAIL_BYTES)
  return createHash('sha256').update(await reader.read(offset - length, length)).digest('hex')
}

/** Gathers items up to a size, so that many small objects share a transaction and a large one does not fill memory. */
class Batch {
  readonly #write: (items: readonly BatchItem[]) => boolean
  #items: BatchItem[] = []
  #bytes = 0
  #lost = false

  constructor(write: (items: readonly BatchItem[]) => boolean) {
    this.#write = write
  }

  /** Something was dropped. */
  get lost(): boolean {
    return this.#lost
  }

  get isFull(): boolean {
    return this.#bytes >= BATCH_BYTES || this.#items.length >= BATCH_ITEMS
  }

  /** Counts bytes that are held; true when they should be written. */
  fills(bytes: number): boolean {
    this.#bytes += bytes
    return this.#bytes >= BATCH_BYTES
  }

  add(item: BatchItem): void {
    this.#items.push(item)
  }

  /** @returns false when another process was faster: then what was read is dropped */
  write(): boolean {
    const items = this.#items
    this.#items = []
    this.#bytes = 0
    if (items.length === 0 || this.#write(items)) return true
    this.#lost = true
    return false
  }
}
