# The stack, from a template that `sam package` has written. See ../infrastructure-as-code.md.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "packaged" {
  description = "Path of the template that sam package wrote"
  type        = string
}

variable "bucket" {
  description = "The bucket that sam package uploaded to, in the stack's region"
  type        = string
}

variable "alarm_email" {
  description = "Who gets the alarms"
  type        = string
}

data "aws_s3_bucket" "artifacts" {
  bucket = var.bucket
}

# Beyond the 51,200 bytes of template_body. A new content is a new key, and so an update.
resource "aws_s3_object" "template" {
  bucket = data.aws_s3_bucket.artifacts.id
  key    = "plivo-cold-transfer/${filemd5(var.packaged)}.yaml"
  source = var.packaged
}

resource "aws_cloudformation_stack" "cold_transfer" {
  name         = "plivo-cold-transfer"
  template_url = "https://${data.aws_s3_bucket.artifacts.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  parameters = {
    AlarmEmail        = var.alarm_email
    ApiGatewayLogRole = "existing" # "create", if the account has none in this region
  }
}

output "webhook_url" {
  value = aws_cloudformation_stack.cold_transfer.outputs["WebhookUrl"]
}
