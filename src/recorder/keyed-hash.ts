/** Hashes of what is not kept (`docs/recording-format.md`): an HMAC under the installation's key, or under a key that lives and dies with the writer. */

import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { StenoError } from '../errors.ts'
import type { KeyedHash } from '../record/redact.ts'

const MIN_KEY_BYTES = 16
const MAX_KEY_BYTES = 64 * 1024

/** The same few session ids and tokens come with every call; what was hashed lately is remembered. */
const REMEMBERED = 1024
const MAX_REMEMBERED_CHARS = 4096

/** 32 hex digits of HMAC-SHA-256. */
export function createKeyedHash(key: Uint8Array): KeyedHash {
  const secret = createSecretKey(key)
  const remembered = new Map<string, string>()
  return value => {
    const known = remembered.get(value)
    if (known !== undefined) return known
    const hashed = createHmac('sha256', secret).update(value).digest('hex').slice(0, 32)
    if (value.length > MAX_REMEMBERED_CHARS) return hashed
    if (remembered.size >= REMEMBERED) remembered.clear()
    remembered.set(value, hashed)
    return hashed
  }
}

/** @param keyFile file with at least 16 random bytes, equal on all replicas; undefined makes a key that is never stored */
export function readKey(keyFile: string | undefined): Uint8Array {
  if (keyFile === undefined) return randomBytes(32)
  let key: Buffer
  try {
    // Not a device or a pipe, which may never end.
    const { size } = statSync(keyFile)
    if (!statSync(keyFile).isFile() || size > MAX_KEY_BYTES) throw new StenoError('config.invalid', `the key file ${keyFile} must be a plain file of at most ${MAX_KEY_BYTES} bytes; create one with: head -c 32 /dev/urandom > FILE`)
    key = readFileSync(keyFile)
  } catch (cause) {
    if (cause instanceof StenoError) throw cause
    throw new StenoError('config.invalid', `cannot read the key file ${keyFile}; create it with: head -c 32 /dev/urandom > ${keyFile}`, { cause })
  }
  if (key.length < MIN_KEY_BYTES) throw new StenoError('config.invalid', `the key file ${keyFile} holds ${key.length} bytes; at least ${MIN_KEY_BYTES} random ones are needed`)
  return key
}
