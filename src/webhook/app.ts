/** The routes of the webhook. Bad content is answered in the review or with 4xx; what we cannot decide in time is 503, so that failurePolicy decides. */

import express from 'express'
import type { Express, NextFunction, Request, Response } from 'express'

import { errorCode } from '../platform/error-code.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { WebhookMetrics } from './metrics.ts'
import { parseReview, reviewAnswer } from './review.ts'
import type { AdmissionAnswer, AdmissionRequest } from './review.ts'

export type Handler = (request: AdmissionRequest, signal: AbortSignal) => Promise<AdmissionAnswer>

export interface AppOptions {
  /** By path. */
  readonly handlers: Readonly<Record<string, Handler>>
  readonly metrics: WebhookMetrics
  readonly clock: Clock
  readonly log: Log
  /** The server is about to end: each answer asks the other side to connect anew. */
  readonly draining: () => boolean
}

/** Old and new object of the largest that etcd takes, with room for the rest of the review. */
const MAX_BODY = '7mb'
/** What the API server gives a webhook when it says nothing else. */
const DEFAULT_TIMEOUT_MS = 10_000
/** Of the API server's patience: an answer that comes later is not heard. */
const OF_TIMEOUT = 0.8

export function createApp({ handlers, metrics, clock, log, draining }: AppOptions): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  for (const [path, handler] of Object.entries(handlers)) {
    const answer = async (req: Request, res: Response): Promise<void> => {
      const parsed = parseReview(req.body)
      if ('problem' in parsed) {
        send(res, 400, { error: parsed.problem })
        return
      }
      const { request } = parsed
      const within = await inTime(signal => handler(request, signal), deadlineMs(req.query['timeout']))
      if ('answer' in within) {
        send(res, 200, reviewAnswer(request.uid, within.answer))
        return
      }
      log.error('an admission review could not be decided; failurePolicy decides', { path, code: errorCode(within.error) ?? 'unknown', reason: within.error instanceof Error ? within.error.message : String(within.error) })
      send(res, 503, { error: 'the review could not be decided in time' })
    }
    app.post(path, timed(path), express.json({ limit: MAX_BODY, type: 'application/json' }), answer)
    app.all(path, (_req, res) => send(res.set('allow', 'POST'), 405, { error: 'only POST' }))
  }
  app.use((_req: Request, res: Response) => send(res, 404, { error: `there is only ${Object.keys(handlers).join(', ')}` }))
  app.use((error: unknown, _req: Request, res: Response, next: NextFunction) => {
    if (res.headersSent) {
      next(error)
      return
    }
    const status = typeof error === 'object' && error !== null && 'status' in error && typeof error.status === 'number' ? error.status : 500
    // The text of a parser's error may quote the body.
    send(res, status, { error: status === 413 ? `the body is larger than ${MAX_BODY}` : status < 500 ? 'the body cannot be read as JSON' : 'failed' })
  })
  return app

  function timed(path: string) {
    return (_req: Request, res: Response, next: NextFunction): void => {
      const start = clock.monotonic()
      res.once('close', () => metrics.answered(path, res.statusCode, (clock.monotonic() - start) / 1000))
      next()
    }
  }

  function send(res: Response, status: number, body: object): void {
    if (draining()) res.set('connection', 'close')
    res.status(status).json(body)
  }
}

/** `?timeout=5s`, as the API server sends it. */
function deadlineMs(text: unknown): number {
  const match = typeof text === 'string' ? /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text) : null
  const ms = match === null ? DEFAULT_TIMEOUT_MS : Number(match[1]) * (match[2] === 's' ? 1000 : 1)
  return Math.min(ms, 30_000) * OF_TIMEOUT
}

/** The timer is cleared, not aborted: an abort makes an error with its stack for every review. */
async function inTime<T>(run: (signal: AbortSignal) => Promise<T>, ms: number): Promise<{ readonly answer: T } | { readonly error: unknown }> {
  const over = new AbortController()
  const late = Promise.withResolvers<{ readonly error: unknown }>()
  const timer = setTimeout(() => {
    over.abort(new Error(`not within ${ms} ms`))
    late.resolve({ error: over.signal.reason as unknown })
  }, ms)
  const result = run(over.signal).then(
    answer => ({ answer }),
    (error: unknown) => ({ error }),
  )
  try {
    return await Promise.race([result, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
