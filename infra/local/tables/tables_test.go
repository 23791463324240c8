package tables_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/infra/local/tables"
)

const source = `
Transform: AWS::Serverless-2016-10-31
Resources:
  NotesTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
`

func TestTablesOfTheTemplateAnswer(t *testing.T) {
	engine, err := tables.New([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{"TableName":"NotesTable","Key":{"id":{"S":"a"}}}`:    http.StatusOK,
		`{"TableName":"NotesTable","Key":{"other":{"S":"a"}}}`: http.StatusBadRequest,
		`{"TableName":"OtherTable","Key":{"id":{"S":"a"}}}`:    http.StatusBadRequest,
	} {
		request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		request.Header.Set("X-Amz-Target", "DynamoDB_20120810.GetItem")
		answer := httptest.NewRecorder()
		engine.ServeHTTP(answer, request)
		if answer.Code != want {
			t.Errorf("%s: status %d, want %d: %s", body, answer.Code, want, answer.Body)
		}
	}
}

func TestTemplateThatCannotBeReadIsRefused(t *testing.T) {
	_, err := tables.New([]byte(strings.Replace(source, "KeyType: HASH", "KeyType: RANGE", 1)))
	if err == nil || !strings.Contains(err.Error(), "KeyType") {
		t.Errorf("error %v, want one that names KeyType", err)
	}
}
