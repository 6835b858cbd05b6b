"""A CDK app that declares next to nothing: what every synthesis takes at least."""

import aws_cdk as cdk

app = cdk.App()
cdk.CfnWaitConditionHandle(cdk.Stack(app, "empty"), "Handle")  # a stack needs a resource
app.synth()
