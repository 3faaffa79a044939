/** `steno ready`: waits for the recorder of this pod. The injector runs it before the pod's own containers start (`src/inject/recorder-container.ts`). */

import { get } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

import { StenoError } from '../errors.ts'
import type { Address } from '../platform/address.ts'
import { addressFlag, durationFlag } from './flag.ts'
import type { CliIo, ExitCode } from './io.ts'

export interface ReadyOptions {
  readonly admin: string
  readonly timeout: string
}

/** A recorder is there after about 100 ms; every look costs next to nothing. */
const LOOK_MS = 20
/** One that hangs must not hold the looks up. */
const ANSWER_MS = 2000
/** Reasons are one line; a stranger on that port may say anything. */
const MAX_REASON = 200

/** Says nothing when all is well. */
export async function runReady(options: ReadyOptions, io: CliIo): Promise<ExitCode> {
  const place = addressFlag('--admin', options.admin)
  const deadline = performance.now() + durationFlag('--timeout', options.timeout)
  for (;;) {
    const reason = await whyNotReady(place, io.signal)
    if (reason === undefined) return 0
    io.signal.throwIfAborted()
    if (performance.now() >= deadline) throw new StenoError('recorder.not-ready', `the recorder at ${options.admin} is not ready after ${options.timeout}: ${reason}; read its log`)
    await wait(LOOK_MS, undefined, { signal: io.signal })
  }
}

/** @returns undefined when it is */
async function whyNotReady({ host = 'localhost', port }: Address, signal: AbortSignal): Promise<string | undefined> {
  return await new Promise(resolve => {
    const request = get({ host, port, path: '/readyz', agent: false, timeout: ANSWER_MS, signal }, res => {
      let said = ''
      res.setEncoding('utf8')
      res.on('data', (text: string) => {
        said = `${said}${text}`.slice(0, MAX_REASON)
      })
      res.on('error', error => resolve(error.message))
      res.on('end', () => resolve(res.statusCode === 200 ? undefined : `it says ${String(res.statusCode)} ${said.trim()}`))
    })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', error => resolve(error.message))
  })
}
