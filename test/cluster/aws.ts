/** AWS of the cluster, reached by its pods through gates that the scenario can shut: moto, or an account that looks at tokens. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'

import { textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import type { Frame } from '../../src/record/frame.ts'
import { parseLine } from '../../src/record/parse-line.ts'
import { startAwsDouble, STREAM } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { ACCOUNT, OPERATOR_ROLE, startIamDouble } from '../support/aws/iam.ts'
import type { IamDouble } from '../support/aws/iam.ts'
import { BOUNDARY } from '../support/aws/installation.ts'
import { INJECTOR_ROLE, operatorAccount, operatorPolicy } from '../support/aws/operator-policy.ts'
import { motoService } from '../support/aws/services.ts'
import type { AwsService } from '../support/aws/services.ts'
import { identityProvider } from '../support/aws/web-identity.ts'
import { closeAtTheEnd } from '../support/leftovers.ts'
import { HOST, INSTALLATION, kubectl } from './cluster.ts'

/** As IAM is told; not its name in any kubeconfig. */
const CLUSTER = 'scenario'
export const ROLE = 'arn:aws:iam::123456789012:role/steno-recorder'

export interface ClusterAws {
  readonly service: AwsService
  /** Values of the chart that send recordings there. */
  readonly values: readonly string[]
  /** Nobody gets through from now on, and who was there is cut off. */
  shut(): void
  open(): void
  /** Every frame that was delivered, once each. */
  frames(): Promise<readonly Frame[]>
}

/** A way from the pods to something on this machine's loopback. */
interface Gate {
  /** As pods reach it. */
  readonly endpoint: string
  shut(): void
  open(): void
  /** Harmless when it was called before. At the end of the run it is called anyway. */
  close(): Promise<void>
}

async function openGate(to: string): Promise<Gate> {
  const { hostname, port } = new URL(to)
  const sockets = new Set<Socket>()
  let isOpen = true
  const server = createServer(socket => {
    if (!isOpen) return void socket.destroy()
    const onward = connect(Number(port), hostname)
    for (const [one, other] of [[socket, onward], [onward, socket]] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy()).on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
    socket.pipe(onward).pipe(socket)
  }).listen(0, HOST)
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const close = async (): Promise<void> => {
    cut()
    server.close()
  }
  closeAtTheEnd(close)
  return {
    endpoint: `http://${HOST}:${(server.address() as AddressInfo).port}`,
    shut: () => {
      isOpen = false
      cut()
    },
    open: () => (isOpen = true),
    close,
  }
}

/** Frames of recordings as they were delivered, once each: what is delivered twice is dropped, as by any reader. */
export function framesOf(delivered: Buffer): readonly Frame[] {
  if (delivered.length === 0) return []
  const seen = new Map<string, Frame>()
  for (const line of gunzipSync(delivered).toString().split('\n')) {
    const parsed = line === '' ? undefined : parseLine(line)
    if (parsed?.kind === 'frame') seen.set(`${parsed.frame.writer}.${parsed.frame.seq}`, parsed.frame)
  }
  return [...seen.values()]
}

let shared: ClusterAws | undefined

/** One for the whole run, so that an installation that has its values is left as it is. */
export async function clusterAws(test: Mocha.Context): Promise<ClusterAws> {
  if (shared !== undefined) return shared
  const service = await motoService(test)
  const gate = await openGate(service.endpoint)
  shared = {
    service,
    // The smallest spool, which a test fills.
    values: [`recorder.sink.firehose.stream=${STREAM}`, 'recorder.sink.firehose.region=us-east-1', `recorder.awsEndpoint=${gate.endpoint}`, `recorder.roleArn=${ROLE}`, 'recorder.spoolMib=64'],
    shut: gate.shut,
    open: gate.open,
    frames: async () => framesOf(await service.delivered()),
  }
  return shared
}

/** An account with the doubles of IAM, the token service and Firehose, in which `hack/aws/operator.yaml` was deployed. It knows the cluster's own issuer by its keys. */
export interface ClusterAccount {
  readonly iam: IamDouble
  readonly firehose: AwsDouble
  /** Values of the chart with which the operator makes roles there. */
  readonly values: readonly string[]
  /** The same, of text that looks like a number. */
  readonly texts: readonly string[]
  close(): Promise<void>
}

export async function clusterAccount(): Promise<ClusterAccount> {
  const discovery = JSON.parse(await kubectl(['get', '--raw', '/.well-known/openid-configuration'])) as JsonObject
  const issuer = (textAt(discovery, 'issuer') ?? '').replace(/^https:\/\//, '')
  const provider = identityProvider(`arn:aws:iam::${ACCOUNT}:oidc-provider/${issuer}`, JSON.parse(await kubectl(['get', '--raw', '/openid/v1/jwks'])) as JsonObject)
  const parameters = { OidcProviderArn: provider.arn, ClusterName: CLUSTER, Namespace: INSTALLATION }
  const iam = await startIamDouble({ providers: [provider], ...operatorAccount(parameters) })
  iam.permissions = [operatorPolicy(parameters)]
  const firehose = await startAwsDouble({ tokens: iam.tokens })
  const [iamGate, firehoseGate] = await Promise.all([openGate(iam.endpoint), openGate(firehose.endpoint)])
  return {
    iam,
    firehose,
    values: [
      `recorder.sink.firehose.stream=${STREAM}`,
      'recorder.sink.firehose.region=us-east-1',
      `recorder.awsEndpoint=${firehoseGate.endpoint}`,
      'aws.region=eu-west-1',
      `aws.cluster=${CLUSTER}`,
      `aws.oidcProvider=${provider.arn}`,
      `aws.boundary=${BOUNDARY}`,
      `aws.operatorRoleArn=${OPERATOR_ROLE}`,
      `aws.endpoint=${iamGate.endpoint}`,
      `injector.access.roleArn=${INJECTOR_ROLE}`,
    ],
    texts: [`aws.account=${ACCOUNT}`],
    close: async () => {
      await Promise.all([iamGate.close(), firehoseGate.close()])
      await Promise.all([iam.close(), firehose.close()])
    },
  }
}
