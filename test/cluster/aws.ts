/** moto as AWS of the cluster, reached by its pods through a gate that the scenario can shut. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'

import type { Frame } from '../../src/record/frame.ts'
import { parseLine } from '../../src/record/parse-line.ts'
import { STREAM } from '../support/aws/double.ts'
import { motoService } from '../support/aws/services.ts'
import type { AwsService } from '../support/aws/services.ts'
import { closeAtTheEnd } from '../support/leftovers.ts'
import { HOST } from './cluster.ts'

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
  close(): Promise<void>
}

export async function clusterAws(test: Mocha.Context): Promise<ClusterAws> {
  const service = await motoService(test)
  const { hostname, port } = new URL(service.endpoint)
  const sockets = new Set<Socket>()
  let isOpen = true
  const gate = createServer(socket => {
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
  await once(gate, 'listening')
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    gate.close()
    await service.close()
  }
  closeAtTheEnd(close)
  return {
    service,
    values: [`recorder.sink.firehose.stream=${STREAM}`, 'recorder.sink.firehose.region=us-east-1', `recorder.awsEndpoint=http://${HOST}:${(gate.address() as AddressInfo).port}`, `recorder.roleArn=${ROLE}`],
    shut: () => {
      isOpen = false
      for (const socket of sockets) socket.destroy()
    },
    open: () => (isOpen = true),
    frames: async () => {
      const delivered = await service.delivered()
      if (delivered.length === 0) return []
      // Delivered at least once: a reader drops what it has seen.
      const seen = new Map<string, Frame>()
      for (const line of gunzipSync(delivered).toString().split('\n')) {
        const parsed = line === '' ? undefined : parseLine(line)
        if (parsed?.kind === 'frame') seen.set(`${parsed.frame.writer}.${parsed.frame.seq}`, parsed.frame)
      }
      return [...seen.values()]
    },
    close,
  }
}
