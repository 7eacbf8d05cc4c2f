// The stack, from a template that `sam package` has written. See ../infrastructure-as-code.md.

import { App, CfnOutput, Stack } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";

const app = new App();
const stack = new Stack(app, "plivo-cold-transfer");
const coldTransfer = new CfnInclude(stack, "ColdTransfer", {
  templateFile: process.env.PACKAGED,
});

// A parameter of the template; one that is not set here is a parameter of the CDK stack, too.
coldTransfer.getParameter("MaxRequestAgeSeconds").default = 30;

// A resource of the template, by its logical id.
const topic = coldTransfer.getResource("PagerTopic");
new CfnOutput(stack, "Pager", { value: topic.ref });
