"""The Hugging Face Hub: names, what one repository holds, push and pull. No statistics: the command line has those."""
