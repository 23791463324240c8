package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

// pricesFile holds the list prices, each with the page that it is from.
//
//go:embed prices.json
var pricesFile []byte

// price is one of the list.
type price struct {
	USD    float64 `json:"usd"`
	Per    float64 `json:"per"`
	Of     string  `json:"of"`
	Source string  `json:"source"`
}

// each is what one of them costs.
func (p price) each() float64 { return p.USD / p.Per }

// prices are list prices of one region, without free tiers and discounts for volume.
type prices struct {
	LambdaRequest    price `json:"lambda_request"`
	LambdaGBSecond   price `json:"lambda_gb_second"`
	WriteUnit        price `json:"write_unit"`
	ReadUnit         price `json:"read_unit"`
	GBMonth          price `json:"gb_month"`
	BackupGB         price `json:"backup_gb"`
	SQSRequest       price `json:"sqs_request"`
	FairRequest      price `json:"fair_request"`
	LogGB            price `json:"log_gb"`
	Metric           price `json:"metric"`
	Alarm            price `json:"alarm"`
	Dashboard        price `json:"dashboard"`
	Trace            price `json:"trace"`
	Secret           price `json:"secret"`
	SecretCall       price `json:"secret_call"`
	OutGB            price `json:"out_gb"`
	PipeRequest      price `json:"pipe_request"`
	CustomEvent      price `json:"custom_event"`
	APIDestination   price `json:"api_destination"`
	SNSPublish       price `json:"sns_publish"`
	SNSHTTP          price `json:"sns_http"`
	SvixMessage      price `json:"svix_message"`
	SvixProfessional price `json:"svix_professional"`
}

// priceList is the file of prices.
type priceList struct {
	Region string `json:"region"`
	AsOf   string `json:"as_of"`
	Note   string `json:"note"`
	Prices prices `json:"prices"`
}

func readPrices() (list priceList, err error) {
	decoder := json.NewDecoder(bytes.NewReader(pricesFile))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&list)
	return list, err
}
