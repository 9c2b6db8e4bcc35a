"""Maps of a trained network, and tests of what they say: numbers only.

Everything is computed from one forward pass (:mod:`divsal_bench.maps.evidence`). The room knows networks, and the
definitions of agreement; nothing of data sets, runs, files or pictures, and nothing here prints or compares seeds.
Importing it loads no torch.

==============  ========================================================================================
evidence        features, rows and logits of a batch; what every map is made of
closed_form     the maps that have a closed form, in one table: a new map is one entry
case            CASE and its clamped form, with the guard that marks a map undefined
gradcam         Grad-CAM by autograd, for heads without a closed form
public          HiResCAM, Score-CAM and FullGrad from the package ``grad-cam`` (extra ``explain``)
measures        energy inside a region, bias share, common mode, error of minority and majority class
sensitivity     do the maps of the two likeliest classes differ?
covering        covering cells of the grid in the image, and scoring what is left
fidelity        does covering what a map marks change the decision more than covering something else?
regions         connected parts of the difference map, each with its logits
fooling         the attack that moves every class CAM and no decision
==============  ========================================================================================
"""
