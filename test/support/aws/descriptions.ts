/** Streams as CreateDeliveryStream makes them and DescribeDeliveryStream tells of them. They take no records: only the double's own stream does. */

export interface Descriptions {
  /** @returns the answer of an operation on JSON; undefined when it is none of these, or there is no such stream */
  answer(operation: string, input: string): string | undefined
}

interface Input {
  readonly DeliveryStreamName: string
  readonly DeliveryStreamType?: string
  readonly DeliveryStreamEncryptionConfigurationInput?: object
  readonly [destination: string]: unknown
}

export const DESCRIBED = ['CreateDeliveryStream', 'StartDeliveryStreamEncryption', 'DescribeDeliveryStream']

export function createDescriptions(): Descriptions {
  const known = new Map<string, object>()
  return {
    answer: (operation, input) => {
      const asked = JSON.parse(input) as Input
      const { DeliveryStreamName: name, DeliveryStreamType: type = 'DirectPut', DeliveryStreamEncryptionConfigurationInput: encryption } = asked
      const found = known.get(name)
      if (operation === 'DescribeDeliveryStream') return found === undefined ? undefined : JSON.stringify({ DeliveryStreamDescription: found })
      if (operation === 'StartDeliveryStreamEncryption') {
        known.set(name, { ...found, DeliveryStreamEncryptionConfiguration: { ...encryption, Status: 'ENABLED' } })
        return '{}'
      }
      const destination = Object.entries(asked).flatMap(([key, value]) => (key.endsWith('DestinationConfiguration') ? [[key.replace(/Configuration$/, 'Description'), value] as const] : []))
      const arn = `arn:aws:firehose:us-east-1:123456789012:deliverystream/${name}`
      known.set(name, {
        DeliveryStreamName: name,
        DeliveryStreamARN: arn,
        DeliveryStreamStatus: 'ACTIVE',
        DeliveryStreamType: type,
        DeliveryStreamEncryptionConfiguration: encryption === undefined ? { Status: 'DISABLED' } : { ...encryption, Status: 'ENABLED' },
        VersionId: '1',
        Destinations: [{ DestinationId: 'destinationId-000000000001', ...Object.fromEntries(destination) }],
        HasMoreDestinations: false,
      })
      return JSON.stringify({ DeliveryStreamARN: arn })
    },
  }
}
