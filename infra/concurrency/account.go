package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/docuhook/docuhook/infra/deployed"
)

const settingsTimeout = 10 * time.Second

// account is how many functions an account may run at once in a region.
type account struct {
	Limit      int `json:"ConcurrentExecutions"`
	Unreserved int `json:"UnreservedConcurrentExecutions"` // what is left to functions without a number of their own
}

// isDenied reports whether AWS knows who asks and does not let them know. Whoever may deploy need not be allowed that.
func isDenied(err error) bool {
	var refused *deployed.Refusal
	return errors.As(err, &refused) && refused.Code == "AccessDeniedException"
}

// readAccount asks Lambda.
//
// Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetAccountSettings.html
func readAccount(ctx context.Context, loaded aws.Config, now time.Time) (account, error) {
	ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	body, _, err := deployed.AskLambda(ctx, loaded, deployed.Question{
		Method: http.MethodGet,
		Path:   "/2016-08-19/account-settings",
		Now:    now,
	})
	if err != nil {
		return account{}, fmt.Errorf("the account's settings: %w", err)
	}
	var answer struct {
		AccountLimit account `json:"AccountLimit"`
	}
	err = json.Unmarshal(body, &answer)
	if err == nil && answer.AccountLimit.Limit == 0 {
		err = errors.New("there is no limit in it")
	}
	if err != nil {
		return account{}, fmt.Errorf("reading the account's settings: %w", err)
	}
	return answer.AccountLimit, nil
}
