package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	settingsTimeout = 10 * time.Second
	maxSettings     = 64 << 10 // bytes
)

// account is how many functions an account may run at once in a region.
type account struct {
	Limit      int `json:"ConcurrentExecutions"`
	Unreserved int `json:"UnreservedConcurrentExecutions"` // what is left to functions without a number of their own
}

// refusal is an answer of AWS that is not 200.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("asking Lambda for the account's settings: %s (%d): %s", r.code, r.status, r.message)
}

// isDenied reports whether AWS knows who asks and does not let them know. Whoever may deploy need not be allowed that.
func isDenied(err error) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.code == "AccessDeniedException"
}

// readAccount asks Lambda. One signed GET is too little to depend on the SDK's client of Lambda for.
//
// Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetAccountSettings.html
func readAccount(ctx context.Context, loaded aws.Config, now time.Time) (account, error) {
	ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	endpoint := aws.ToString(loaded.BaseEndpoint)
	if endpoint == "" {
		endpoint = "https://lambda." + loaded.Region + "." + suffix(loaded.Region)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/2016-08-19/account-settings", http.NoBody)
	if err != nil {
		return account{}, fmt.Errorf("asking Lambda for the account's settings: %w", err)
	}
	credentials, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return account{}, fmt.Errorf("no credentials of an AWS account: %w", err)
	}
	nothing := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(nothing[:]), "lambda", loaded.Region, now); err != nil {
		return account{}, fmt.Errorf("signing: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return account{}, fmt.Errorf("asking Lambda for the account's settings: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSettings))
	if err != nil {
		return account{}, fmt.Errorf("reading the account's settings: %w", err)
	}
	var answer struct {
		Message      string  `json:"message"`
		AccountLimit account `json:"AccountLimit"`
	}
	err = json.Unmarshal(body, &answer)
	if response.StatusCode != http.StatusOK {
		code, _, _ := strings.Cut(response.Header.Get("X-Amzn-Errortype"), ":")
		return account{}, &refusal{status: response.StatusCode, code: code, message: answer.Message}
	}
	if err == nil && answer.AccountLimit.Limit == 0 {
		err = errors.New("there is no limit in it")
	}
	if err != nil {
		return account{}, fmt.Errorf("reading the account's settings: %w", err)
	}
	return answer.AccountLimit, nil
}

// suffix returns the end of the names of AWS's hosts in a region.
func suffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}
