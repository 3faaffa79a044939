/**
 * AWS as far as Steno uses it (Firehose, STS, S3), on a real socket, for what moto cannot be made to do: fail on command, check signatures and limits,
 * buffer by a clock that the test turns. `test/support/aws/DIFFERENCES.md` lists where moto and this differ, and what is documented.
 */

import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { bodyOf } from '../recorder.ts'
import { listenOnLoopback } from '../loopback.ts'
import { createBucket, fail, REGION } from './bucket.ts'
import type { Bucket } from './bucket.ts'
import { settingOf } from './bucket-settings.ts'
import { createDescriptions, DESCRIBED } from './descriptions.ts'
import { signatureProblem } from './signature.ts'
import type { Keys } from './signature.ts'
import { createStream } from './stream.ts'
import type { Stream } from './stream.ts'
import type { TokenAnswer, TokenService } from './token-service.ts'

/** What becomes of one PutRecordBatch. */
export type Fault =
  /** Nothing is accepted. */
  | { readonly type: 'refuse'; readonly status: number; readonly code: string; readonly message?: string }
  /** Some records are not accepted, in an answer with status 200. */
  | { readonly type: 'partial'; readonly fails: (index: number) => boolean; readonly code?: string }
  /** The connection is reset; `accept` says whether the records were taken first. */
  | { readonly type: 'reset'; readonly accept: boolean }
  /** Nothing is accepted, and the answer is none of Firehose's. */
  | { readonly type: 'odd'; readonly status: number; readonly body: string | Buffer; readonly headers?: Readonly<Record<string, string>> }
  /** The answer waits. */
  | { readonly type: 'hold'; readonly until: Promise<unknown> }

export interface PutCall {
  /** From 0. */
  readonly number: number
  readonly records: readonly Buffer[]
  /** ARN of the role with whose credentials it was made, where the account's own token service handed them out. */
  readonly role: string | undefined
}

export interface AwsDouble {
  readonly endpoint: string
  readonly bucket: Bucket
  readonly stream: Stream
  /** Calls that came to the stream, also those that failed. */
  readonly calls: readonly PutCall[]
  readonly requests: { s3: number; sts: number }
  /** Firehose answers 503 to whatever comes, before it looks at it. */
  outage: boolean
  /** Decides about each call. */
  fault: ((call: PutCall) => Fault | undefined) | undefined
  /** Hears path and query of each request to S3. */
  onS3: ((url: string) => void) | undefined
  /** ms that the service's clock is ahead of this machine's. */
  aheadMs: number
  /** Refuses a request by its operation, such as `firehose:DescribeDeliveryStream`, `sts:GetCallerIdentity`, `s3:GET versioning` or `s3:GET` of an object; never answers with `silence`, breaks off an answer of S3 with `cut`. */
  refuse: ((operation: string) => { readonly status: number; readonly code: string; readonly message?: string } | 'silence' | 'cut' | undefined) | undefined
  /** Role by role: makes AssumeRoleWithWebIdentity fail with a code. */
  denyRole: { readonly status: number; readonly code: string } | undefined
  /** Lets all credentials that were handed out by STS end. */
  revoke(): void
  close(): Promise<void>
}

export const STATIC_KEYS = { id: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' }
export const BUCKET = 'recordings'
export const STREAM = 'steno-test'
export const ROLE_ARN = 'arn:aws:iam::123456789012:role/recorder'
/** Key of the tokens that this STS trusts (HS256 for brevity; AWS checks against the issuer's JWKS). */
const TOKEN_KEY = 'issuer'
const MAX_RECORDS = 500
const MAX_CALL_BYTES = 4 * 1024 * 1024
const MAX_RECORD_BYTES = 1_024_000
const SESSION_MS = 3_600_000

export interface DoubleOptions {
  readonly prefix?: string
  readonly bufferMs?: number
  readonly bufferBytes?: number
  /** Hands out credentials, and says what they may do, in the place of the one role that is known here. */
  readonly tokens?: TokenService
}

export async function startAwsDouble(options: DoubleOptions = {}): Promise<AwsDouble> {
  const bucket = createBucket()
  const buckets = new Map([[BUCKET, bucket]])
  const descriptions = createDescriptions()
  const stream = createStream({ name: STREAM, prefix: options.prefix ?? 'team-a/', bufferMs: options.bufferMs ?? 0, bufferBytes: options.bufferBytes ?? 1 }, bucket)
  const calls: PutCall[] = []
  const issued = new Map<string, Keys>()
  const requests = { s3: 0, sts: 0 }
  const double: AwsDouble = {
    get endpoint() {
      return listening.origin
    },
    bucket,
    stream,
    calls,
    requests,
    outage: false,
    fault: undefined,
    onS3: undefined,
    aheadMs: 0,
    refuse: undefined,
    denyRole: undefined,
    revoke: () => issued.clear(),
    close: async () => await listening.close(),
  }
  const nowMs = (): number => Date.now() + double.aheadMs
  const keysOf = (id: string): Keys | undefined => (id === STATIC_KEYS.id ? { secret: STATIC_KEYS.secret } : (options.tokens?.keysOf(id) ?? issued.get(id)))
  const roleOf = (req: IncomingMessage): string | undefined => options.tokens?.keysOf(/Credential=([^/]+)/.exec(req.headers.authorization ?? '')?.[1] ?? '')?.role

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const body = await bodyOf(req)
    const target = String(req.headers['x-amz-target'] ?? '')
    res.setHeader('Date', new Date(nowMs()).toUTCString())
    const isToken = target === '' && req.method === 'POST' && body.toString('latin1').includes('Action=AssumeRoleWithWebIdentity')
    if (isToken) {
      requests.sts++
      const form = new URLSearchParams(body.toString())
      return options.tokens === undefined ? assumeRole(res, form, double, issued, nowMs()) : tokenAnswer(res, options.tokens.assume(form))
    }
    if (double.outage && target.startsWith('Firehose_20150804.')) return failJson(res, 503, 'ServiceUnavailableException', 'Slow down.')
    const problem = signatureProblem({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, body }, keysOf, { nowMs: nowMs(), region: REGION })
    const url = new URL(req.url ?? '/', 'http://aws.test')
    const [, name = '', ...rest] = decodeURIComponent(url.pathname).split('/')
    const isIdentity = req.method === 'POST' && body.toString('latin1').includes('Action=GetCallerIdentity')
    const operation = target.startsWith('Firehose_20150804.') ? `firehose:${target.slice(18)}` : isIdentity ? 'sts:GetCallerIdentity' : `s3:${[req.method, settingOf(url) ?? (url.searchParams.has('versions') ? 'versions' : undefined)].filter(each => each !== undefined).join(' ')}`
    const refusal = double.refuse?.(operation)
    if (refusal === 'silence') return
    if (refusal === 'cut') return void res.writeHead(206, { 'Content-Length': 1000, 'Content-Range': 'bytes 0-999/1000' }).write('half', () => req.socket.destroy())
    const failure = refusal ?? (problem === undefined ? undefined : { status: operation.startsWith('firehose') ? 400 : 403, ...problem })
    if (failure !== undefined) return (operation.startsWith('firehose') ? failJson : fail)(res, failure.status, failure.code, failure.message ?? failure.code)
    if (isIdentity) return callerIdentity(res)
    if (target.startsWith('Firehose_20150804.')) {
      if (!DESCRIBED.includes(target.slice(18))) return await putRecordBatch(req, res, target, body, { calls, stream, double, nowMs, role: roleOf(req), tokens: options.tokens })
      const found = descriptions.answer(target.slice(18), body.toString())
      if (found === undefined) return failJson(res, 400, 'ResourceNotFoundException', 'Firehose under account 123456789012 not found.')
      return void res.writeHead(200, { 'Content-Type': 'application/x-amz-json-1.1' }).end(found)
    }
    requests.s3++
    double.onS3?.(req.url ?? '')
    if (req.method === 'PUT' && rest.join('') === '' && url.search === '') {
      buckets.set(name, createBucket())
      return void res.writeHead(200).end()
    }
    const asked = buckets.get(name)
    if (asked === undefined) return fail(res, 404, 'NoSuchBucket')
    asked.answer(req, res, url, rest.join('/'), body, nowMs())
  }
  const server = createServer((req, res) => {
    answer(req, res).catch((error: unknown) => res.destroy(error instanceof Error ? error : undefined))
  })
  const listening = await listenOnLoopback(server)
  return double
}

interface FirehoseParts {
  readonly calls: PutCall[]
  readonly stream: Stream
  readonly double: AwsDouble
  readonly nowMs: () => number
  readonly role: string | undefined
  readonly tokens: TokenService | undefined
}

async function putRecordBatch(req: IncomingMessage, res: ServerResponse, target: string, body: Buffer, { calls, stream, double, nowMs, role, tokens }: FirehoseParts): Promise<void> {
  if (target !== 'Firehose_20150804.PutRecordBatch') return failJson(res, 400, 'UnknownOperationException', target)
  const asked = JSON.parse(body.toString()) as { readonly DeliveryStreamName: string; readonly Records?: readonly { readonly Data: string }[] }
  if (asked.Records === undefined) return failJson(res, 400, 'ValidationException', "1 validation error detected: Value null at 'records' failed to satisfy constraint: Member must not be null")
  if (asked.DeliveryStreamName !== stream.name) return failJson(res, 400, 'ResourceNotFoundException', `Firehose ${asked.DeliveryStreamName} under account 123456789012 not found.`)
  const arn = `arn:aws:firehose:${REGION}:123456789012:deliverystream/${stream.name}`
  if (role !== undefined && tokens?.may(role, 'firehose:PutRecordBatch', arn) !== true) return failJson(res, 400, 'AccessDeniedException', `${role} is not authorized to perform: firehose:PutRecordBatch on resource: ${arn}`)
  const records = asked.Records.map(({ Data }) => Buffer.from(Data, 'base64'))
  const call = { number: calls.length, records, role }
  calls.push(call)
  const fault = double.fault?.(call)
  if (fault?.type === 'hold') await fault.until
  if (fault?.type === 'odd') return void res.writeHead(fault.status, fault.headers).end(fault.body)
  if (fault?.type === 'refuse') return failJson(res, fault.status, fault.code, fault.message ?? fault.code)
  if (records.length === 0 || records.length > MAX_RECORDS) return failJson(res, 400, 'ValidationException', 'records')
  if (records.some(record => record.length > MAX_RECORD_BYTES)) return failJson(res, 400, 'ValidationException', 'a record is larger than 1000 KiB')
  if (records.reduce((sum, record) => sum + record.length, 0) > MAX_CALL_BYTES) return failJson(res, 400, 'InvalidArgumentException', 'Records size exceeds 4 MB limit')
  if (fault?.type === 'reset' && !fault.accept) return void req.socket.resetAndDestroy()
  const answers = records.map((record, index) => {
    if (fault?.type === 'partial' && fault.fails(index)) return { ErrorCode: fault.code ?? 'ServiceUnavailableException', ErrorMessage: 'Slow down.' }
    return { RecordId: stream.accept(record, nowMs()) }
  })
  if (fault?.type === 'reset') return void req.socket.resetAndDestroy()
  res.writeHead(200, { 'Content-Type': 'application/x-amz-json-1.1' }).end(JSON.stringify({ FailedPutCount: answers.filter(each => 'ErrorCode' in each).length, RequestResponses: answers }))
}

function failJson(res: ServerResponse, status: number, code: string, message: string): void {
  res.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.1', 'x-amzn-ErrorType': code }).end(JSON.stringify({ __type: code, message }))
}

function callerIdentity(res: ServerResponse): void {
  res.writeHead(200, { 'Content-Type': 'text/xml' }).end('<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/test</Arn><UserId>A</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>')
}

/** A token as the cluster would project it. */
export function webIdentityToken(expiresMs: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256' })}.${part({ aud: 'sts.amazonaws.com', sub: 'system:serviceaccount:team-a:mcp', exp: Math.floor(expiresMs / 1000) })}`
  return `${text}.${createHmac('sha256', TOKEN_KEY).update(text).digest('base64url')}`
}

function assumeRole(res: ServerResponse, form: URLSearchParams, double: AwsDouble, issued: Map<string, Keys>, nowMs: number): void {
  const deny = (status: number, code: string): void => tokenAnswer(res, { status, code, message: code })
  if (double.denyRole !== undefined) return deny(double.denyRole.status, double.denyRole.code)
  const [head = '', payload = '', mark = ''] = (form.get('WebIdentityToken') ?? '').split('.')
  if (createHmac('sha256', TOKEN_KEY).update(`${head}.${payload}`).digest('base64url') !== mark) return deny(400, 'InvalidIdentityToken')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { readonly exp: number }
  if (claims.exp * 1000 <= nowMs) return deny(400, 'ExpiredTokenException')
  if (form.get('RoleArn') !== ROLE_ARN) return deny(403, 'AccessDenied')
  const id = `ASIA${issued.size}${Math.floor(nowMs)}`
  const keys = { secret: `secret of ${id}`, token: `token of ${id}`, expiresMs: nowMs + SESSION_MS }
  issued.set(id, keys)
  tokenAnswer(res, { result: `<Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${keys.secret}</SecretAccessKey><SessionToken>${keys.token}</SessionToken><Expiration>${new Date(keys.expiresMs).toISOString()}</Expiration></Credentials><AssumedRoleUser><Arn>${ROLE_ARN}</Arn><AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser>` })
}

function tokenAnswer(res: ServerResponse, answer: TokenAnswer): void {
  const space = 'https://sts.amazonaws.com/doc/2011-06-15/'
  if ('result' in answer) return void res.writeHead(200, { 'Content-Type': 'text/xml' }).end(`<AssumeRoleWithWebIdentityResponse xmlns="${space}"><AssumeRoleWithWebIdentityResult>${answer.result}</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>`)
  res.writeHead(answer.status, { 'Content-Type': 'text/xml' }).end(`<ErrorResponse xmlns="${space}"><Error><Type>Sender</Type><Code>${answer.code}</Code><Message>${answer.message}</Message></Error><RequestId>r</RequestId></ErrorResponse>`)
}
