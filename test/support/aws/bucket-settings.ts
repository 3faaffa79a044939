/** How a bucket is set: what was put is what is got, and a setting that was never put has an error of its own, as the API reference of S3 says. */

import type { IncomingMessage, ServerResponse } from 'node:http'

/** The query that names a setting, and how S3 answers where it was not put: an error, or an answer without content. */
const UNSET: Readonly<Record<string, string>> = {
  versioning: '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>',
  'object-lock': 'ObjectLockConfigurationNotFoundError',
  policy: 'NoSuchBucketPolicy',
  publicAccessBlock: 'NoSuchPublicAccessBlockConfiguration',
  encryption: 'ServerSideEncryptionConfigurationNotFoundError',
  lifecycle: 'NoSuchLifecycleConfiguration',
}

/** The setting that a request is about, as the query names it. */
export function settingOf(url: URL): string | undefined {
  return Object.keys(UNSET).find(name => url.searchParams.has(name))
}

export interface BucketSettings {
  /** @returns false when the request is about no setting */
  answer(req: IncomingMessage, res: ServerResponse, url: URL, body: Buffer): boolean
}

export function createBucketSettings(): BucketSettings {
  const put = new Map<string, Buffer>()
  return {
    answer: (req, res, url, body) => {
      const setting = settingOf(url)
      if (setting === undefined) return false
      if (req.method === 'PUT') {
        put.set(setting, body)
        res.writeHead(200).end()
        return true
      }
      const found = put.get(setting) ?? UNSET[setting] ?? ''
      const unset = typeof found === 'string' && !found.startsWith('<')
      res.writeHead(unset ? 404 : 200, { 'Content-Type': 'application/xml' }).end(unset ? `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${found}</Code><Message>not set</Message></Error>` : found)
      return true
    },
  }
}
