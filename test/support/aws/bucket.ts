/** A versioned bucket, as far as Steno reads one: listing versions, ranges. Answers XML as S3 does. */

import type { IncomingMessage, ServerResponse } from 'node:http'

import { createBucketSettings } from './bucket-settings.ts'

export const REGION = 'us-east-1'

interface Version {
  readonly id: string
  readonly bytes: Buffer
  readonly modifiedMs: number
  readonly marker: boolean
}

export interface Bucket {
  /** Newest version last. */
  readonly keys: Map<string, Version[]>
  put(key: string, bytes: Uint8Array, modifiedMs: number): void
  /** Hides the key, as a delete of a versioned object does. */
  mark(key: string, modifiedMs: number): void
  answer(req: IncomingMessage, res: ServerResponse, url: URL, key: string, body: Buffer, nowMs: number): void
}

export function createBucket(): Bucket {
  const keys = new Map<string, Version[]>()
  const settings = createBucketSettings()
  let next = 0
  const add = (key: string, version: Omit<Version, 'id'>): void => {
    const own = keys.get(key) ?? []
    keys.set(key, own)
    own.push({ ...version, id: `v${String(next++).padStart(8, '0')}` })
  }
  const put: Bucket['put'] = (key, bytes, modifiedMs) => add(key, { bytes: Buffer.from(bytes), modifiedMs, marker: false })

  const mark: Bucket['mark'] = (key, modifiedMs) => add(key, { bytes: Buffer.alloc(0), modifiedMs, marker: true })

  const list = (res: ServerResponse, url: URL): void => {
    const asked = (name: string): string => url.searchParams.get(name) ?? ''
    const most = Number(asked('max-keys') || 1000)
    const versions = url.searchParams.has('versions')
    const after = asked('key-marker') || asked('continuation-token') || asked('start-after')
    const afterVersion = asked('version-id-marker')
    const found: string[] = []
    let last: { key: string; id: string } | undefined
    let more = false
    for (const key of [...keys.keys()].sort()) {
      if (!key.startsWith(asked('prefix')) || key < after || (key === after && afterVersion === '')) continue
      const own = (keys.get(key) ?? []).toReversed()
      const shown = versions ? own : own.slice(0, 1).filter(({ marker }) => !marker)
      let passed = key !== after
      for (const version of shown) {
        if (passed && found.length >= most) {
          more = true
          break
        }
        if (passed) {
          const tag = !versions ? 'Contents' : version.marker ? 'DeleteMarker' : 'Version'
          const latest = version === own[0]
          found.push(`<${tag}><Key>${escape(key)}</Key><VersionId>${version.id}</VersionId><IsLatest>${latest}</IsLatest><LastModified>${new Date(version.modifiedMs).toISOString()}</LastModified>${version.marker ? '' : `<ETag>"${version.id}"</ETag><Size>${version.bytes.length}</Size>`}</${tag}>`)
          last = { key, id: version.id }
        } else if (version.id === afterVersion) passed = true
      }
      if (more) break
    }
    const end = last === undefined || !more ? '' : versions ? `<NextKeyMarker>${escape(last.key)}</NextKeyMarker><NextVersionIdMarker>${last.id}</NextVersionIdMarker>` : `<NextContinuationToken>${escape(last.key)}</NextContinuationToken>`
    const root = versions ? 'ListVersionsResult' : 'ListBucketResult'
    res.writeHead(200, { 'Content-Type': 'application/xml' }).end(`<?xml version="1.0" encoding="UTF-8"?><${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>${more}</IsTruncated>${end}${found.join('')}</${root}>`)
  }
  const get = (req: IncomingMessage, res: ServerResponse, url: URL, key: string): void => {
    const own = keys.get(key) ?? []
    const id = url.searchParams.get('versionId')
    const version = id === null ? own.at(-1) : own.find(each => each.id === id)
    if (version === undefined || version.marker) return fail(res, 404, 'NoSuchKey')
    const range = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '')
    if (range === null) return void res.writeHead(200, { 'Content-Length': version.bytes.length }).end(version.bytes)
    const from = Number(range[1])
    const to = Math.min(Number(range[2]), version.bytes.length - 1)
    if (from >= version.bytes.length) return fail(res, 416, 'InvalidRange')
    res.writeHead(206, { 'Content-Length': to - from + 1, 'Content-Range': `bytes ${from}-${to}/${version.bytes.length}` }).end(version.bytes.subarray(from, to + 1))
  }
  return {
    keys,
    put,
    mark,
    answer: (req, res, url, key, body, nowMs) => {
      if (key === '' && settings.answer(req, res, url, body)) return
      if (req.method === 'HEAD' && key === '') return void res.writeHead(200, { 'x-amz-bucket-region': REGION }).end()
      if (req.method === 'GET' && key === '') return list(res, url)
      if (req.method === 'GET') return get(req, res, url, key)
      if (req.method === 'DELETE' && key !== '' && !url.searchParams.has('versionId')) {
        mark(key, nowMs)
        return void res.writeHead(204).end()
      }
      if (req.method !== 'PUT' || key === '') return fail(res, 405, 'MethodNotAllowed')
      put(key, body, nowMs)
      res.writeHead(200).end()
    },
  }
}

export function fail(res: ServerResponse, status: number, code: string, message = code): void {
  res.writeHead(status, { 'Content-Type': 'application/xml' }).end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${escape(message)}</Message></Error>`)
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
