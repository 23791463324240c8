package webhook

// Document is what webhooks need to know of a document, which the document system writes.
type Document struct {
	OrganizationID string
	Status         Status // as it stands in the table: it need not be Known
	UpdatedAt      string // as the document system wrote it; see ParseOccurred
}
