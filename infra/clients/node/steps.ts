// What the programs share: what the test tells them, and how they tell it what they have done.
const told = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(name + " is not set")
  return value
}

export const API = told("API")
export const API_KEY = told("API_KEY")
export const ENDPOINT = told("ENDPOINT")
export const SENT_TO = told("SENT_TO") // a config that has had deliveries
export const CHANGED = ENDPOINT + "/changed"
export const UNKNOWN = "01969f3c-7b00-7c3a-9d4e-5f60718293a4"

export const step = (text: string) => console.log(text)

export function must(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(what)
}

// cursor returns where the page begins that links.next leads to.
export const cursor = (next?: string) => (next ? (new URL(next, API).searchParams.get("page[after]") ?? undefined) : undefined)
