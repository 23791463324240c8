package definition

import (
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/secretsmanager"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// Storage is what a template's tables, queues and secrets are in.
type Storage struct {
	Database *dynamodb.Database
	Broker   *sqs.Broker
	Secrets  *secretsmanager.Vault
}

// NewStorage makes what the template declares. The time of the tables is now's, nil for the machine's; region and account of
// the queues are set here.
func NewStorage(t *template.Template, now func() time.Time, queues sqs.Options) (Storage, error) {
	queues.Region, queues.Account = template.Region, template.Account
	s := Storage{
		Database: dynamodb.New(dynamodb.Options{Region: template.Region, Account: template.Account, Clock: now}),
		Broker:   sqs.New(queues),
		Secrets:  secretsmanager.New(secretsmanager.Options{Region: template.Region, Account: template.Account}),
	}
	for _, table := range t.Tables {
		if err := s.Database.CreateTable(Table(table)); err != nil {
			return Storage{}, err
		}
	}
	var all []sqs.Definition
	for _, q := range t.Queues {
		all = append(all, Queue(q))
	}
	if err := s.Broker.CreateQueue(all...); err != nil {
		return Storage{}, err
	}
	for _, secret := range t.Secrets {
		if err := s.Secrets.CreateSecret(Secret(secret)); err != nil {
			return Storage{}, err
		}
	}
	return s, nil
}

// Services are the services by the prefixes of their targets.
func (s Storage) Services() map[string]awsjson.Service {
	return map[string]awsjson.Service{
		"DynamoDB_20120810":        s.Database.Service(),
		"DynamoDBStreams_20120810": s.Database.Streams(),
		"AmazonSQS":                s.Broker.Service(),
		"secretsmanager":           s.Secrets.Service(),
	}
}
