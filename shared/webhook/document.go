package webhook

// Document is what webhooks need to know of a document, which the document system writes.
type Document struct {
	OrganizationID string
	Status         Status // as it stands in the table: it need not be Known
	UpdatedAt      string // RFC 3339 if the document system keeps to it
}
